"""``matinvent front``: a run directory in, a front out, nothing of the user's touched."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.candidate import Candidate, Fate
from matinvent.cli import main
from matinvent.config_files import build_config
from matinvent.memory.ledger import Ledger
from matinvent.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A running campaign of two goals: its process holds the lock."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("MATINVENT_DEBUG", raising=False)
    objectives = [
        {"property": "density", "kind": "target", "target": 12, "hi": 10},
        {"property": "price", "kind": "minimize", "lo": 0, "hi": 100},
    ]
    directory = RunDirectory.create(tmp_path / "run", build_config({"name": "two", "objectives": objectives}))
    yield directory
    directory.unlock()


def record(run: RunDirectory, *scores: tuple[float, float]) -> None:
    iron = Structure(Lattice.cubic(3), ["Fe"], [[0, 0, 0]])
    Ledger(run.ledger_file).record([
        Candidate(
            0, index, iron, fate=Fate.SCORED, reward=0.5, properties={"density": 12 * a, "price": 100 * (1 - b)},
            scores={"density": a, "price": b},
        )
        for index, (a, b) in enumerate(scores)
    ])  # fmt: skip


def invoke(*arguments: object) -> int:
    try:
        main(["front", *map(str, arguments)])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_the_front_of_a_running_campaign(run, capsys):
    record(run, (0.9, 0.1), (0.2, 0.8), (0.1, 0.1))
    assert invoke(run.path) == 0
    shown = capsys.readouterr().out
    assert "2 of 3 crystals" in shown
    assert "density (g/cm^3)" in shown
    assert "price (USD/kg)" in shown
    folder = run.path / "front-1"
    assert {file.name for file in folder.iterdir()} == {"front.csv", "hypervolume.csv", "front.svg", "crystals"}
    assert len(list((folder / "crystals").iterdir())) == 2


def test_a_later_look_leaves_the_earlier_one(run, tmp_path):
    record(run, (0.9, 0.1))
    assert invoke(run.path) == invoke(run.path) == 0
    assert (run.path / "front-2" / "front.svg").is_file()
    assert invoke(run.path, "--output", tmp_path / "mine") == 0
    before = (tmp_path / "mine" / "front.csv").stat().st_mtime_ns
    assert invoke(run.path, "--output", tmp_path / "mine") == 2
    assert (tmp_path / "mine" / "front.csv").stat().st_mtime_ns == before


def test_what_has_no_front_says_so(run, tmp_path, capsys):
    assert invoke(run.path) == 2
    assert "has not finished an iteration" in capsys.readouterr().err
    assert not run.ledger_file.exists()
    Ledger(run.ledger_file).record([Candidate(0, 0, None, fate=Fate.INVALID, reason="none")])
    assert invoke(run.path) == 2
    assert "no crystal has been scored" in capsys.readouterr().err
    assert not (run.path / "front-1").exists()
    assert invoke(tmp_path / "elsewhere") == 2
    assert "not a run directory" in capsys.readouterr().err


def test_of_stages_the_newest_counts(tmp_path, capsys):
    stage = {"iterations": 1, "objectives": [{"property": "price", "kind": "minimize", "lo": 0, "hi": 100}]}
    top = [{"property": "density", "kind": "target", "target": 12, "hi": 10}]
    stages = [{"name": "first", "iterations": 1}, {"name": "second", **stage}]
    run = RunDirectory.create(tmp_path / "run", build_config({"name": "two", "objectives": top, "stages": stages}))
    run.unlock()
    record(run, (1.0, 1.0))  # in iteration 0, by other goals
    iron = Structure(Lattice.cubic(3), ["Fe"], [[0, 0, 0]])
    later = {"properties": {"price": 70.0}, "scores": {"price": 0.3}, "reward": 0.3}
    Ledger(run.ledger_file).record([Candidate(1, 0, iron, fate=Fate.SCORED, **later)])
    run.save(2, {}, {"curriculum": {"begins": [0, 1]}})
    assert invoke(run.path) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 crystals" in shown
    assert "price (USD/kg)" in shown
    assert "density" not in shown
