"""``generate`` and ``properties``: the rooms are stand-ins, files and messages are real."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.cli import main
from matinvent.cli.structure_files import read_structures
from matinvent.errors import CheckpointError, Failure


def iron(edge: float = 2.87) -> Structure:
    return Structure(Lattice.cubic(edge), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def invoke(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code or 0


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("MATINVENT_DEBUG", raising=False)


class StandInGenerator:
    def sample(self, n, rng, progress=None):
        import torch

        edges = 2.5 + torch.rand(n, generator=rng)
        progress(1.0)
        return [iron(float(edge)) if i != 1 else Failure("collapsed", "no volume") for i, edge in enumerate(edges)]


@pytest.fixture
def generator(monkeypatch):
    """What the priors room was asked for."""
    import matinvent.priors

    asked = []

    def load(name, config):
        asked.append((name, config))
        return StandInGenerator()

    monkeypatch.setattr(matinvent.priors, "load_generator", load)
    return asked


def lengths(path):
    return [crystal.lattice.a for _, crystal in read_structures([path])]


def test_generation_is_seeded(generator, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert invoke("generate", 4, "--seed", seed, "--output", f"{name}.extxyz") == 0
    a, b, c = (lengths(tmp_path / f"{name}.extxyz") for name in "abc")
    assert a == b != c
    assert len(a) == 3


def test_progress_in_a_log_is_a_line_per_quarter(capsys):
    from matinvent.cli.output import progress_bar

    with progress_bar("working") as progress:
        for step in range(1, 101):
            progress(step / 100)
    assert capsys.readouterr().err.splitlines() == [f"working: {share} %" for share in (25, 50, 75, 100)]


def test_generation_reports_failures_and_passes_settings_on(generator, capsys):
    assert (
        invoke("generate", 4, "--prior", "mine", "--set", "generator.steps=20", "--set", "generator.guidance=1.5") == 0
    )
    assert "1 of 4 crystals could not be built, e.g. collapsed: no volume" in capsys.readouterr().err
    ((name, config),) = generator
    assert (name, config.prior, config.steps, config.guidance) == ("mine", "mine", 20, 1.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "generator.steps=1"], "generator.steps"),
        (["--set", "generator.guidance=-2"], "generator.guidance"),
        (["--set", "generator.templates.space_groups=[231]"], "generator.templates.space_groups"),
        (["--set", "iterations=3"], "only sampling settings apply here"),
        (["--output", "taken.extxyz"], "taken.extxyz: exists already"),
        (["--output", "a.pdf"], "cannot write '.pdf'"),
        (["--run", "x", "--prior", "y"], "leave --prior and --set out"),
    ],
)
def test_impossible_generation_is_refused(generator, tmp_path, capsys, arguments, said):
    (tmp_path / "taken.extxyz").write_text("mine", encoding="utf-8")
    assert invoke("generate", 2, *arguments) == 2
    assert said in capsys.readouterr().err
    assert generator == []  # refused before anything is loaded
    assert (tmp_path / "taken.extxyz").read_text(encoding="utf-8") == "mine"


def test_generation_from_a_run_takes_its_agent(monkeypatch, tmp_path, capsys):
    def load_agent(directory):
        if directory.name != "good":
            raise CheckpointError(f"{directory}: the campaign has not finished an iteration yet")
        return StandInGenerator()

    monkeypatch.setitem(sys.modules, "matinvent.trained_agent", SimpleNamespace(load_agent=load_agent))
    assert invoke("generate", 3, "--run", "good", "--output", "crystals") == 0
    assert len(list((tmp_path / "crystals").glob("*_Fe.cif"))) == 2
    assert invoke("generate", 3, "--run", "bad", "--output", "more") == 2
    assert "bad: the campaign has not finished" in capsys.readouterr().err


@pytest.fixture
def crystals(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.cif").write_text(iron().to(fmt="cif"), encoding="utf-8")
    (folder / "small.cif").write_text(iron(2.2).to(fmt="cif"), encoding="utf-8")
    (folder / "bad.cif").write_text("nonsense", encoding="utf-8")
    return folder


@dataclass
class Info:
    name: str
    unit: str = "g/cm^3"
    description: str = "mass density"
    bounds: tuple[float, float] = (0, 50)
    cost: str = "instant"
    source: str = "definition"
    needs: tuple[str, ...] = ()
    uncertainty: str = ""


class StandInService:
    """Every property is the first edge of the cell; small crystals have no density."""

    requested: ClassVar[list[tuple[str, dict]]] = []

    def __init__(self, requests, evaluation, cache):
        StandInService.requested = [(name, dict(params)) for name, params in requests]
        self.properties = {}
        for name, _ in requests:
            needs = ("relaxed structure",) if name == "gap" else ()
            self.properties[name] = Info(name, needs=needs, uncertainty="gap_std" if name == "gap" else "")
            if name == "gap":
                self.properties["gap_std"] = Info("gap_std")

    def evaluate_each(self, structures, progress=None):
        return [self.one(structure) for structure in structures]

    def one(self, structure):
        values = dict.fromkeys(self.properties, structure.lattice.a)
        if "gap_std" in values:
            values["gap_std"] = 0.25
        if "density" in values and structure.lattice.a < 2.5:
            values["density"] = Failure("x", "density: no")
        return values

    def close(self):
        pass


@pytest.fixture
def properties(monkeypatch):
    registry = SimpleNamespace(describe=lambda: [Info("hhi", unit="1"), Info("density")])
    monkeypatch.setitem(sys.modules, "matinvent.properties.registry", registry)
    service = SimpleNamespace(PropertyService=StandInService)
    monkeypatch.setitem(sys.modules, "matinvent.properties.service", service)


def test_properties_are_listed_with_their_units(properties, capsys):
    assert invoke("properties", "--list") == 0
    text = capsys.readouterr().out
    assert text.index("density") < text.index("hhi")
    assert "g/cm^3" in text


def test_properties_of_files_keep_order_and_failures(properties, crystals, tmp_path):
    assert invoke("properties", crystals, "-p", "density,density", "--output", "out.csv") == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = [(r["source"].rpartition("/")[2], r["density"], r["failure"]) for r in csv.DictReader(file)]
    assert rows[0][:2] == ("bad.cif", "")
    assert rows[0][2].startswith("unreadable")
    assert rows[1:] == [("good.cif", "2.87", ""), ("small.cif", "", "x: density: no")]


def test_a_property_that_fails_leaves_the_others(properties, crystals, tmp_path):
    assert invoke("properties", crystals, "-p", "hhi,density", "-p", "cost", "--output", "out.csv") == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        _, good, small = csv.DictReader(file)
    assert (good["hhi"], good["density"], good["cost"], good["failure"]) == ("2.87", "2.87", "2.87", "")
    assert (small["hhi"], small["density"], small["cost"], small["failure"]) == ("2.2", "", "2.2", "x: density: no")


@pytest.mark.parametrize("arguments", [["-p", "density"], ["--output", "out.csv"]])
def test_properties_of_nothing_are_refused(properties, tmp_path, capsys, arguments):
    assert invoke("properties", *arguments) == 2
    captured = capsys.readouterr()
    assert "of which crystals?" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "out.csv").exists()


def test_properties_must_be_named(properties, crystals, capsys):
    assert invoke("properties", crystals) == 2
    assert "matinvent properties --list" in capsys.readouterr().err


def test_uncertainties_have_columns_in_files_and_follow_their_values_on_the_terminal(
    properties, crystals, tmp_path, capsys
):
    assert invoke("properties", crystals / "good.cif", "-p", "gap", "--output", "out.csv") == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["gap"], row["gap_std"]) == ("2.87", "0.25")
    assert "gap: meant for relaxed crystals" in capsys.readouterr().err
    assert invoke("properties", crystals / "good.cif", "-p", "gap") == 0
    text = capsys.readouterr().out
    assert "2.87 ± 0.25" in text
    assert "gap_std" not in text
    assert "failure" not in text


def test_why_there_is_no_value_stands_below_the_table(properties, crystals, capsys):
    assert invoke("properties", crystals / "small.cif", crystals / "good.cif", "-p", "density,hhi") == 0
    text = capsys.readouterr().out
    assert "small.cif: x: density: no" in text.splitlines()[-1]
    assert "good.cif:" not in text


def test_parameters_reach_their_property(properties, crystals):
    arguments = ["-p", "hhi,mine.py:mine", "--param", "mine.py:mine.scale=[1, 2]", "--param", "hhi.year=2013"]
    assert invoke("properties", crystals, *arguments) == 0
    assert StandInService.requested == [("hhi", {"year": 2013}), ("mine.py:mine", {"scale": [1, 2]})]


@pytest.mark.parametrize("param", ["scale=2", "hhi.scale", "density.scale=2", "hhi.scale=[1"])
def test_parameters_of_nothing_are_refused(properties, crystals, capsys, param):
    assert invoke("properties", crystals, "-p", "hhi", "--param", param) == 2
    assert f"--param {param}" in capsys.readouterr().err


def test_relaxing_comes_first_and_what_fails_there_has_no_property(properties, crystals, monkeypatch, tmp_path):
    from matinvent.screening import relaxation

    class Doubler:
        def relax(self, structures, progress=None, **_):
            ends = [iron(2 * structure.lattice.a) for structure in structures]
            return [
                Failure("exploded", "volume") if end.lattice.a < 5 else relaxation.Relaxation(end, 0, True, 1, 0, 0)
                for end in ends
            ]

        def close(self):
            pass

    monkeypatch.setattr(relaxation, "make_relaxer", lambda config, workers: Doubler())
    assert invoke("properties", crystals, "-p", "gap", "--relax", "--output", "out.csv") == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        _, good, small = csv.DictReader(file)
    assert good["gap"] == "5.74"
    assert (small["gap"], small["failure"]) == ("", "exploded: volume")


def test_all_about_one_property(capsys):
    assert invoke("properties", "--about", "magnetic_density") == 0
    text = capsys.readouterr().out
    assert "muB/A^3" in text
    assert "ferromagnet" in text
    assert invoke("properties", "--about", "magnetic_densty") == 2
    assert "did you mean 'magnetic_density" in capsys.readouterr().err
