"""Everything that docs/own_properties.md shows works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.cli import main
from matinvent.config import EvaluationConfig
from matinvent.properties import registry
from matinvent.properties.service import PropertyService
from matinvent.tasks import load_task
from matinvent.testing import check_property

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DOC = ROOT / "docs" / "own_properties.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
FILES = {text.partition("\n")[0].removeprefix("# "): text for _, text in BLOCKS if text.startswith("# ")}
COMMANDS = [line.removeprefix("$ ") for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SILICON = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with the files of the page, and two crystals."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "crystals").mkdir()
    SALT.to(tmp_path / "crystals" / "salt.cif")
    SILICON.to(tmp_path / "crystals" / "silicon.cif")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def test_the_page_has_all_doors():
    assert {"mine.py", "declared.py", "edges.py", "hardness.py", "campaign.yaml", "hard.yaml", "test_mine.py"} <= set(
        FILES
    )
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, capsys):
    program, *arguments = shlex.split(command)
    assert program == "matinvent"
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert not left.value.code, capsys.readouterr().err
    shown = capsys.readouterr().out
    if "--about" not in command:
        assert "NaCl" in shown
        assert not re.search(r"error|failed|not-finite|out-of-bounds", shown)


@pytest.mark.parametrize("name", ["campaign.yaml", "hard.yaml"])
def test_campaigns(name):
    config = load_task(name, "quick")
    requests = [(objective.property, objective.params) for objective in config.objectives]
    service = PropertyService(requests, EvaluationConfig(), None)
    salt, silicon = service.evaluate([SALT, SILICON])
    assert salt.keys() == silicon.keys() == {name for name, _ in requests}
    service.close()


def test_campaigns_with_graph_models_are_valid():
    config = load_task("graph-models.yaml", "quick")
    assert [registry.find_factory(objective.property).__name__ for objective in config.objectives] == [
        "Matgl",
        "Alignn",
    ]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mine.py:density_per_electron", {}),
        ("mine.py:number_density", {"scale": 2}),
        ("declared.py:number_density", {}),
        ("edges.py:AtomicRadius", {}),
        ("program:hardness", {"command": [sys.executable, "hardness.py"]}),
    ],
)
def test_all_keep_the_contract(name, params):
    check_property(name, [SALT, SILICON], params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        (f"{EXAMPLES}/own_function.py:electron_density", {}),
        ("program:oxygen_share", {"command": [sys.executable, str(EXAMPLES / "own_program.py")]}),
    ],
)
def test_examples_keep_the_contract(name, params):
    check_property(name, [SALT, SILICON], params)


def test_the_check_itself():
    scope: dict[str, object] = {}
    exec(compile(FILES["test_mine.py"], "test_mine.py", "exec"), scope)
    scope["test_my_property"]()


def test_the_entry_point(monkeypatch, tmp_path):
    points = tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"][registry.GROUP]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint(*item, group) for item in points.items()])
    info = registry.about("atomic_radius")
    assert (info.unit, info.uncertainty) == ("A", "atomic_radius_uncertainty")
    service = PropertyService([("atomic_radius", {"packing": 0.68})], EvaluationConfig(), None)
    (result,) = service.evaluate([SALT])
    assert list(result) == ["atomic_radius", "atomic_radius_uncertainty"]
