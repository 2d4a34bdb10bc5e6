"""``generate``, ``evaluate``, ``properties``: the rooms are stand-ins, files and messages are real."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.candidate import Fate
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

    monkeypatch.setitem(sys.modules, "matinvent.campaign", SimpleNamespace(load_agent=load_agent))
    assert invoke("generate", 3, "--run", "good", "--output", "crystals") == 0
    assert len(list((tmp_path / "crystals").glob("*_Fe.cif"))) == 2
    assert invoke("generate", 3, "--run", "bad", "--output", "more") == 2
    assert "bad: the campaign has not finished" in capsys.readouterr().err


class StandInScreener:
    """Small cells are unstable, the others survive, a little larger."""

    asked: ClassVar[list] = []

    def __init__(self, config):
        self.asked.append(config)

    def screen(self, candidates, wanted, progress=None):
        progress(0.5)
        for candidate in candidates:
            if candidate.structure is None:
                continue
            candidate.relaxed = candidate.structure.copy().scale_lattice(candidate.structure.volume * 1.1)
            candidate.e_above_hull = 0.5 if candidate.structure.lattice.a < 2.5 else 0.0
            candidate.reject(Fate.UNSTABLE, "0.5 eV/atom above the hull")
            if candidate.e_above_hull == 0:
                candidate.fate, candidate.reason = Fate.SURVIVED, ""
        return [c for c in candidates if c.fate is Fate.SURVIVED]

    def close(self):
        self.asked.append("closed")


@pytest.fixture
def screener(monkeypatch):
    monkeypatch.setitem(sys.modules, "matinvent.screening.screen", SimpleNamespace(Screener=StandInScreener))
    monkeypatch.setattr(StandInScreener, "asked", [])
    return StandInScreener.asked


@pytest.fixture
def crystals(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.cif").write_text(iron().to(fmt="cif"), encoding="utf-8")
    (folder / "small.cif").write_text(iron(2.2).to(fmt="cif"), encoding="utf-8")
    (folder / "bad.cif").write_text("nonsense", encoding="utf-8")
    return folder


def test_every_file_gets_a_row_with_its_fate(screener, crystals, tmp_path, capsys):
    assert invoke("evaluate", crystals, "--output", "out") == 0
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["source"].rpartition("/")[2]: row for row in csv.DictReader(file)}
    assert {name: row["fate"] for name, row in rows.items()} == {
        "bad.cif": "invalid", "good.cif": "survived", "small.cif": "unstable",
    }  # fmt: skip
    assert rows["bad.cif"]["reason"].startswith("unreadable:")
    assert rows["small.cif"]["reason"] == "0.5 eV/atom above the hull"
    assert rows["good.cif"]["space_group"] == "Im-3m (229)"
    relaxed = Structure.from_file(tmp_path / "out" / rows["good.cif"]["relaxed"])
    assert relaxed.volume == pytest.approx(1.1 * 2.87**3, rel=1e-4)
    captured = capsys.readouterr()
    assert "bad.cif: unreadable" in captured.err
    funnel = [line.split()[1:4:2] for line in captured.out.splitlines() if "%" in line]
    assert funnel == [
        ["read", "2"], ["valid", "2"], ["relaxed", "2"], ["stable", "1"], ["unique", "1"], ["novel", "1"],
    ]  # fmt: skip


def test_screening_is_exhaustive_adjustable_and_closed(screener, crystals):
    assert invoke("evaluate", crystals, "--set", "screening.relaxation.fmax=0.05") == 0
    config, closed = screener
    assert config.exhaustive
    assert config.relaxation.fmax == 0.05
    assert closed == "closed"


def test_evaluations_are_numbered_and_never_overwritten(screener, crystals, tmp_path, capsys):
    assert invoke("evaluate", crystals) == 0
    assert invoke("evaluate", crystals) == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"evaluate-1", "evaluate-2"}
    assert invoke("evaluate", crystals, "--output", "runs/evaluate-1") == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["in/bad.cif"], "none of the files can be read"),
        (["in", "--set", "learning.sigma=1"], "only screening settings apply here"),
        (["in", "--set", "screening.novlty=false"], "did you mean 'novelty'?"),
    ],
)
def test_impossible_evaluations_are_refused(screener, crystals, tmp_path, capsys, arguments, said):
    assert invoke("evaluate", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@dataclass
class Info:
    name: str
    unit: str = "g/cm^3"
    description: str = "mass density"
    bounds: tuple[float, float] = (0, 50)
    cost: str = "instant"
    source: str = "definition"


class StandInService:
    def __init__(self, requests, evaluation, cache):
        self.names = [name for name, _ in requests]

    def evaluate(self, structures, progress=None):
        return [dict.fromkeys(self.names, s.lattice.a) if s.lattice.a > 2.5 else Failure("x", "no") for s in structures]

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
    assert rows[1:] == [("good.cif", "2.87", ""), ("small.cif", "", "x: no")]


def test_properties_must_be_named(properties, crystals, capsys):
    assert invoke("properties", crystals) == 2
    assert "matinvent properties --list" in capsys.readouterr().err
