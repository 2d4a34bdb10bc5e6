"""A plain Python function as a property: found by name, declared or not, and never trusted."""

from __future__ import annotations

import functools
import math
import textwrap

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matinvent.config import EvaluationConfig
from matinvent.errors import ConfigError, Failure
from matinvent.execution.cache import ResultCache
from matinvent.properties import registry
from matinvent.properties.evaluator import PropertyInfo, evaluate_each
from matinvent.properties.functions import crystal_property
from matinvent.properties.service import PropertyService
from matinvent.testing import check_property

HERE = "tests.unit.test_properties_functions"
ROCK_SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
IRON = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def density_per_electron(structure):
    return structure.density / structure.composition.total_electrons * len(structure)


def atoms_per_volume(structure, scale=1.0, *, exponent: float = 1.0):
    """Number density.

    More about it.
    """
    return scale * (len(structure) / structure.volume) ** exponent


def at_temperature(structure, temperature):
    return structure.volume / len(structure) * temperature


@crystal_property(unit="1/A^3", bounds=(0, 0.05), description="Sparse.", cost="seconds", needs=("relaxed structure",))
def sparseness(structure):
    return len(structure) / structure.volume


@crystal_property(unit="1", extensive=True, name="atoms")
def count(structure):
    return len(structure)


@crystal_property()
def all_optional(structure=None):
    return structure.volume / len(structure)


class Volume:
    properties = (PropertyInfo("v", "A^3", "Volume per atom.", (0.0, 1e3), "instant", "definition"),)
    version = "1"

    def __init__(self, scale):
        self.params = {"scale": scale}

    def evaluate(self, structures):
        return evaluate_each(lambda s: {"v": self.params["scale"] * s.volume / len(s)}, structures)


def make_volume(scale):
    return Volume(scale)


def make_default():
    return Volume(1.0)


class PerAtom:
    def __call__(self, structure):
        return structure.volume / len(structure)


per_atom = PerAtom()
doubled = functools.partial(atoms_per_volume, scale=2.0)
make_partial = functools.partial(Volume, 2.0)
anonymous = lambda structure: structure.volume / len(structure)  # noqa: E731
_hidden = density_per_electron


def value(name, params=None, structure=IRON):
    evaluator = registry.create(f"{HERE}:{name}", params or {})
    (result,) = evaluator.evaluate([structure])
    return result if isinstance(result, Failure) else result[registry.declared(f"{HERE}:{name}", evaluator).name]


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("density_per_electron", {}, IRON.density / 26),
        ("atoms_per_volume", {}, 2 / 2.87**3),
        ("atoms_per_volume", {"scale": 2}, 4 / 2.87**3),
        ("atoms_per_volume", {"scale": 2, "exponent": 0.5}, 2 * (2 / 2.87**3) ** 0.5),
        ("at_temperature", {"temperature": 300}, 300 * 2.87**3 / 2),
        ("all_optional", {}, 2.87**3 / 2),
        ("per_atom", {}, 2.87**3 / 2),
        ("doubled", {}, 4 / 2.87**3),
        ("anonymous", {}, 2.87**3 / 2),
        ("make_volume", {"scale": 3}, 3 * 2.87**3 / 2),
        ("make_default", {}, 2.87**3 / 2),
        ("make_partial", {}, 2.87**3),
        ("Volume", {"scale": 3}, 3 * 2.87**3 / 2),
    ],
)
def test_functions_and_factories_are_told_apart(name, params, expected):
    assert value(name, params) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["density_per_electron", "atoms_per_volume", "count"])
def test_functions_keep_the_contract(name):
    check_property(f"{HERE}:{name}", [ROCK_SALT, IRON])


def test_a_function_declares_what_can_be_told_of_it():
    info = registry.about(f"{HERE}:atoms_per_volume")
    assert (info.name, info.unit, info.description) == ("atoms_per_volume", "?", "Number density.")
    assert info.bounds == (-math.inf, math.inf)
    assert HERE in info.source


def test_a_decorated_function_declares_what_it_says_and_stays_a_function():
    info = registry.about(f"{HERE}:sparseness")
    assert (info.unit, info.bounds, info.cost) == ("1/A^3", (0.0, 0.05), "seconds")
    assert (info.description, info.needs) == ("Sparse.", ("relaxed structure",))
    assert sparseness(ROCK_SALT) == pytest.approx(8 / 5.64**3)
    assert value("sparseness").kind == "out-of-bounds"
    assert registry.about(f"{HERE}:count").name == "atoms"


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("density_per_electron", {"scale": 2}, "accepted: none"),
        ("atoms_per_volume", {"scal": 2}, "accepted: scale, exponent"),
        ("at_temperature", {}, "of a function of a structure, params give all but the first"),
        ("make_default", {"scale": 1}, "accepted: none"),
        ("_hidden", {}, "letters"),
        ("missing", {}, "there is no 'missing'"),
    ],
)
def test_misuse_is_refused(name, params, message):
    with pytest.raises(ConfigError, match=message):
        registry.create(f"{HERE}:{name}", params)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("raise RuntimeError('no')", "error"),
        ("return 1 / 0", "error"),
        ("return None", "missing-property"),
        ("return float('nan')", "not-finite"),
        ("return float('inf')", "not-finite"),
        ("return 10 ** 400", "not-finite"),
        ("return True", "not-a-number"),
        ("return '3.0'", "not-a-number"),
        ("return 1j", "not-a-number"),
        ("return [1.0]", "not-a-number"),
        ("from matinvent.errors import Failure; return Failure('unwilling', 'not today')", "unwilling"),
    ],
)
def test_what_is_no_number_is_a_failure(tmp_path, body, kind):
    path = tmp_path / "mine.py"
    path.write_text(f"def broken(structure):\n    {body}\n")
    (result,) = registry.create(f"{path}:broken", {}).evaluate([IRON])
    assert isinstance(result, Failure)
    assert result.kind == kind
    assert result.reason


@pytest.mark.parametrize("body", ["np.float32(2.5)", "np.float64(2.5)", "2.5", "np.array([2.5])[0]"])
def test_all_kinds_of_real_numbers_will_do(tmp_path, body):
    path = tmp_path / "mine.py"
    path.write_text(f"import numpy as np\ndef number(structure):\n    return {body}\n")
    (result,) = registry.create(f"{path}:number", {}).evaluate([IRON])
    assert result == {"number": 2.5}


def test_the_function_cannot_change_the_crystal(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def vandal(structure):\n    structure.scale_lattice(1.0)\n    return structure.volume\n")
    crystal = IRON.copy()
    (result,) = registry.create(f"{path}:vandal", {}).evaluate([crystal])
    assert result["vandal"] == pytest.approx(1.0)
    assert crystal == IRON


@pytest.mark.parametrize(
    "structure",
    [
        Structure(Lattice.cubic(3), [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]]),
        Structure(Lattice.cubic(3), ["Fe"], [[np.nan, 0, 0]]),
        Structure(Lattice(np.full((3, 3), np.inf)), ["Fe"], [[0, 0, 0]]),
        Structure(Lattice.cubic(3), [], []),
    ],
)
def test_the_function_is_spared_what_is_no_crystal(tmp_path, structure):
    path = tmp_path / "mine.py"
    path.write_text("def one(structure):\n    return 1.0\n")
    (result,) = registry.create(f"{path}:one", {}).evaluate([structure])
    assert isinstance(result, Failure)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A file of the user's in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(source, name="mine.py"):
        (tmp_path / name).write_text(textwrap.dedent(source))

    write("def edge(structure, scale=1.0):\n    return scale * structure.lattice.a\n")
    return write


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_files_serve_on_every_executor(mine, executor):
    requests = [("mine.py:edge", {"scale": 2.0}), (f"{HERE}:density_per_electron", {})]
    service = PropertyService(requests, EvaluationConfig(executor=executor, workers=2), None)
    rows = service.evaluate([IRON, ROCK_SALT])
    service.close()
    assert [row["mine.py:edge"] for row in rows] == pytest.approx([5.74, 11.28])
    assert rows[0][f"{HERE}:density_per_electron"] == pytest.approx(IRON.density / 26)


def test_an_edit_is_another_version(mine):
    before = registry.create("mine.py:edge", {}).version
    mine("def edge(structure, scale=1.0):\n    return 2 * scale * structure.lattice.a\n", "other.py")
    assert registry.create("other.py:edge", {}).version != before
    assert registry.create("./mine.py:edge", {}).version == before


def test_cached_results_do_not_survive_an_edit(mine, tmp_path):
    """As two runs of the program do: the file is loaded anew by each."""
    import subprocess
    import sys

    code = """
        from pathlib import Path
        from pymatgen.core import Lattice, Structure
        from matinvent.config import EvaluationConfig
        from matinvent.execution.cache import ResultCache
        from matinvent.properties.service import PropertyService
        service = PropertyService([("mine.py:edge", {})], EvaluationConfig(), ResultCache(Path("cache.db")))
        print(service.evaluate([Structure(Lattice.cubic(3), ["Fe"], [[0, 0, 0]])])[0]["mine.py:edge"])
    """
    edges = []
    for factor in (1, 1, 2):
        mine(f"def edge(structure):\n    open('calls', 'a').write('x')\n    return {factor} * structure.lattice.a\n")
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
        edges.append(float(done.stdout))
    assert edges == [3.0, 3.0, 6.0]
    assert (tmp_path / "calls").read_text() == "xx", "the second run took it from the cache"
    assert len(ResultCache(tmp_path / "cache.db")) == 2


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("x = 1\n", "absent.py:edge", "there is no file absent.py"),
        ("x = 1\n", "mine.py:edge", "there is no 'edge' in mine.py"),
        ("edge = 1\n", "mine.py:edge", "is a int, not a function"),
        ("import no_such_package\n", "mine.py:edge", "No module named 'no_such_package'"),
        ("def edge(structure)\n", "mine.py:edge", "SyntaxError"),
        ("raise SystemExit(3)\n", "mine.py:edge", "SystemExit: 3"),
        ("x = 1\n", "mine.py:", "not of the form"),
        (
            "import matinvent.properties.functions as f\n@f.crystal_property(bounds=(1, 0))\ndef edge(s): return 1\n",
            "mine.py:edge",
            "must be a lower and a larger upper one",
        ),
    ],
)
def test_files_that_cannot_serve_are_refused_by_name(mine, source, name, message):
    mine(source)
    with pytest.raises(ConfigError, match=message):
        registry.create(name, {})


def test_a_file_that_failed_is_read_again(mine):
    mine("raise ValueError('not yet')\n", "late.py")
    with pytest.raises(ConfigError, match="not yet"):
        registry.create("late.py:edge", {})
    mine("def edge(structure):\n    return 1.0\n", "late.py")
    assert registry.create("late.py:edge", {}).evaluate([IRON]) == [{"edge": 1.0}]


def test_a_users_folder_stays_tidy(mine, tmp_path):
    registry.create("mine.py:edge", {})
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_a_function_without_a_file_is_refused():
    with pytest.raises(ConfigError, match="no source file"):
        registry.create("builtins:len", {})
