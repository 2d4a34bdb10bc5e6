"""Finding evaluators: shipped, plugged in, by name of a function; and helpful refusals."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import matinvent.properties.registry as registry
from matinvent.errors import ConfigError, MissingDependencyError
from matinvent.properties.evaluator import PropertyInfo, evaluate_each

HERE = "tests.unit.test_properties_registry"


class Scaled:
    """First cell edge times a factor."""

    properties = (PropertyInfo("edge", "A", "First cell edge.", (0.0, 100.0), "instant", "definition"),)
    version = "1"

    def __init__(self, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError("scale must be positive")
        self.params = {"scale": scale}

    def evaluate(self, structures):
        return evaluate_each(lambda s: {"edge": self.params["scale"] * s.lattice.a}, structures)


class Pair(Scaled):
    properties = (*Scaled.properties, PropertyInfo("angle", "deg", "An angle.", (0.0, 180.0), "instant", "definition"))


def needs_package():
    raise MissingDependencyError("phonopy", "phonons", "heat capacity")


def no_evaluator():
    return 3


@pytest.fixture
def plugins(monkeypatch):
    """Entry points as if two packages were installed."""

    def found(group):
        assert group == "matinvent.properties"
        return [
            EntryPoint("edge", f"{HERE}:Scaled", group),
            EntryPoint("angle", f"{HERE}:Pair", group),
            EntryPoint("phonons", f"{HERE}:needs_package", group),
            EntryPoint("wrong", f"{HERE}:Scaled", group),
        ]

    monkeypatch.setattr(registry, "entry_points", found)


def test_shipped_properties_describe_themselves():
    infos = {info.name: info for info in registry.describe()}
    assert {"bulk_modulus", "density", "hhi", "hhi_production"} <= infos.keys()
    assert infos["density"].unit == "g/cm^3"
    assert "Gaultois" in infos["hhi"].source


def test_unknown_property_names_the_nearest():
    with pytest.raises(ConfigError, match=r"'densty' is unknown \(did you mean 'density'( or .*)?\?\)\. Your own"):
        registry.create("densty", {})


def test_unknown_property_without_any_near_lists_all():
    with pytest.raises(ConfigError, match=r"known: .*bulk_modulus, .*density, .*hhi"):
        registry.create("zzz", {})


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("density", {"temperature": 300}, "accepted: none"),
        (f"{HERE}:Scaled", {"scal": 2}, "accepted: scale"),
        (f"{HERE}:Scaled", {"scale": -1}, "must be positive"),
        (f"{HERE}:Scaled", {"scale": "two"}, "TypeError"),
        (f"{HERE}:NoSuch", {}, "NoSuch"),
        ("no_such_package:make", {}, "no_such_package"),
        (f"{HERE}:no_evaluator", {}, "no evaluator"),
        (f"{HERE}:Pair", {}, "one property is needed"),
    ],
)
def test_refusals_say_what_is_wrong(name, params, message):
    with pytest.raises(ConfigError, match=message):
        registry.create(name, params)


def test_a_users_own_function():
    evaluator = registry.create(f"{HERE}:Scaled", {"scale": 2.0})
    assert evaluator.params == {"scale": 2.0}
    assert registry.declared(f"{HERE}:Scaled", evaluator).name == "edge"


def test_plugins_are_found_by_property(plugins):
    assert registry.create("edge", {"scale": 3.0}).params == {"scale": 3.0}
    assert registry.declared("angle", registry.create("angle", {})).unit == "deg"
    assert registry.resolve("density").startswith("matinvent.")


def test_a_plugin_that_does_not_load_says_so_and_hides_no_other(plugins):
    infos = {info.name: info for info in registry.describe()}
    assert "pip install 'matinvent[phonons]'" in infos["phonons"].description
    assert "computes edge instead" in infos["wrong"].description
    assert infos["edge"].unit == "A"
    assert "density" in infos


def edge(structure):
    return structure.lattice.a


def test_a_plugin_may_be_a_function(monkeypatch):
    point = EntryPoint("edge", f"{HERE}:edge", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert registry.about("edge").name == "edge"
    assert registry.create("edge", {}).properties[0].source == f"{HERE}:edge"


def test_properties_of_one_program_come_from_one_evaluator():
    assert registry.resolve("program:a") == registry.resolve("program:b")
    assert registry.resolve("matgl:a") != registry.resolve("matgl:b")


def test_missing_packages_are_reported_as_such(plugins):
    with pytest.raises(MissingDependencyError):
        registry.create("phonons", {})


def test_describing_needs_neither_torch_nor_pymatgen():
    code = (
        "import sys; from matinvent.properties.registry import describe; describe();"
        "print([m for m in ('torch', 'pymatgen', 'ase', 'smact') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
