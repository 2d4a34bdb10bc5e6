"""The ledger: exact records, queries with ASE, rollback, names and strings that ASE does not like."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect
from pymatgen.core import DummySpecies, Lattice, Structure

from matinvent.candidate import Candidate, Fate
from matinvent.errors import CheckpointError
from matinvent.memory.ledger import Ledger


def crystal(symbols: list[str], seed: int = 0) -> Structure:
    rng = np.random.default_rng(seed)
    return Structure(Lattice(rng.normal(size=(3, 3)) * 4), symbols, rng.uniform(0, 1, (len(symbols), 3)))


def scored(iteration: int, index: int, symbols: list[str], reward: float, seed: int = 0) -> Candidate:
    return Candidate(
        iteration,
        index,
        crystal(symbols, seed),
        relaxed=crystal(symbols, seed + 1000),
        fate=Fate.SCORED,
        energy_per_atom=-3.1,
        e_above_hull=0.1 + 0.2,
        rmsd=1 / 3,
        relax_steps=47,
        converged=True,
        properties={"density": 7.8},
        scores={"density": reward},
        reward=reward,
        credit=reward / 3,
    )


def same(one: Candidate, two: Candidate) -> bool:
    """Equal in every field, structures to the last bit."""
    for name in ("structure", "relaxed"):
        a, b = getattr(one, name), getattr(two, name)
        if (a is None) != (b is None):
            return False
        if a is not None and not (
            np.array_equal(a.lattice.matrix, b.lattice.matrix, equal_nan=True)
            and np.array_equal(a.frac_coords, b.frac_coords, equal_nan=True)
            and a.species_and_occu == b.species_and_occu
        ):
            return False
    plain = [n for n in Candidate.__dataclass_fields__ if n not in ("structure", "relaxed")]
    return all(repr(getattr(one, n)) == repr(getattr(two, n)) for n in plain)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_every_fate_is_recorded_and_read_back_exactly(path):
    candidates = [
        Candidate(0, 0, None, fate=Fate.INVALID, reason="not-finite: lattice"),
        Candidate(0, 1, crystal(["Na", "Cl"]), fate=Fate.UNSTABLE, reason="0.3 eV/atom", e_above_hull=0.3),
        scored(0, 2, ["Fe", "O"], 0.7),
    ]
    candidates += [Candidate(0, 3 + i, crystal(["Si"], i), fate=fate, reason="why") for i, fate in enumerate(Fate)]
    Ledger(path).record(candidates)
    read = Ledger(path).candidates()
    assert len(read) == len(candidates)
    assert all(same(a, b) for a, b in zip(candidates, read, strict=True))


def test_ase_reads_it(path):
    Ledger(path).record([scored(0, 0, ["Fe", "O"], 0.7), scored(0, 1, ["Na", "Cl"], 0.2)])
    (row,) = connect(path).select("reward>0.5,fate=scored")
    assert row.formula == "FeO"
    assert row.composition == "FeO"
    assert row.density == 7.8
    assert row.energy == pytest.approx(-6.2)
    assert row.toatoms().get_volume() == pytest.approx(crystal(["Fe", "O"], 1000).volume)
    done = subprocess.run(
        [sys.executable, "-m", "ase", "db", str(path), "reward>0.5", "-c", "formula,reward,energy"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "FeO" in done.stdout
    assert "NaCl" not in done.stdout


def test_a_row_without_crystal_is_a_row(path):
    Ledger(path).record([Candidate(3, 5, None, fate=Fate.INVALID, reason="no crystal")])
    (row,) = connect(path).select(fate="invalid")
    assert (row.iteration, row.index, row.natoms, row.reason) == (3, 5, 0, "no crystal")


@pytest.mark.parametrize("text", ["NaN", "inf", "12", "1e5", "True", "-0.5", "", "ümlaut, komma; 'quote'"])
def test_reasons_that_read_like_numbers(path, text):
    candidate = Candidate(0, 0, crystal(["Si"]), fate=Fate.UNSTABLE, reason=text)
    ledger = Ledger(path)
    ledger.record([candidate])
    assert ledger.candidates()[0].reason == text


@pytest.mark.parametrize("symbols", [["Na", "N"], ["In", "F"]])
def test_formulas_that_read_like_numbers(path, symbols):
    # Sodium nitride is NaN to Python, indium fluoride is inf.
    ledger = Ledger(path)
    ledger.record([scored(0, 0, symbols, 0.7)])
    assert ledger.best(1)[0].composition == "".join(symbols)


@pytest.mark.parametrize(
    "name",
    ["energy", "stress", "volume", "charge", "reward", "fate", "id", "symbols", "CO2", "my_module:make", "2d-ness"],
)
def test_property_names_that_mean_something_else(path, name):
    candidate = scored(0, 0, ["Fe"], 0.7)
    candidate.properties = {name: 1.25, "density": 7.8}
    candidate.scores = {name: 0.5, "density": 0.9}
    ledger = Ledger(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger.record([candidate])
    assert same(ledger.candidates()[0], candidate)
    (row,) = connect(path).select("reward=0.7")
    assert 1.25 in row.key_value_pairs.values()
    assert row.density == 7.8


def test_broken_crystals_are_recorded_too(path):
    shared = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    dummy = Structure(Lattice.cubic(4), [DummySpecies("X")], [[0, 0, 0]])
    nan = Structure(Lattice.cubic(4), ["Fe"], [[math.nan, 0, 0]])
    candidates = [Candidate(0, i, s, fate=Fate.INVALID, reason="bad") for i, s in enumerate([shared, dummy, nan])]
    candidates[2].energy_per_atom = math.nan
    candidates[2].rmsd = math.inf
    ledger = Ledger(path)
    ledger.record(candidates)
    assert all(same(a, b) for a, b in zip(candidates, ledger.candidates(), strict=True))


def test_rollback_forgets_that_iteration_and_later_ones(path):
    ledger = Ledger(path)
    for iteration in range(4):
        ledger.record([scored(iteration, i, ["Fe"], 0.5) for i in range(3)])
    ledger.rollback(2)
    assert sorted({c.iteration for c in ledger.candidates()}) == [0, 1]
    ledger.record([scored(2, 0, ["Na"], 0.9)])
    assert [(c.iteration, c.index) for c in ledger.candidates()] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
    ]
    assert len(ledger.candidates(1)) == 3
    assert ledger.candidates(7) == []
    assert Ledger(path).best(1)[0].composition == "Na"


def test_rollback_of_an_empty_ledger(path):
    ledger = Ledger(path)
    ledger.rollback(0)
    assert ledger.candidates() == []
    assert ledger.best(5) == []


def test_best_has_one_per_composition_and_the_earlier_of_equals(path):
    ledger = Ledger(path)
    ledger.record(
        [
            scored(0, 0, ["Fe"], 0.5),
            scored(0, 1, ["Fe", "Fe"], 0.9),
            scored(0, 2, ["Na", "Cl"], 0.9),
            scored(0, 3, ["Na", "Cl"], 0.8),
            Candidate(0, 4, crystal(["Si"]), fate=Fate.UNSTABLE, reason="no"),
            scored(0, 5, ["K"], 0.0),
            replace(scored(-1, 0, ["Na", "Cl"], 1.0), source="mine.cif"),  # given, not proposed
        ]
    )
    assert [(c.composition, c.reward) for c in ledger.best(10)] == [("Fe", 0.9), ("NaCl", 0.9), ("K", 0.0)]
    assert [c.composition for c in ledger.best(1)] == ["Fe"]


def test_a_record_that_breaks_off_leaves_nothing_behind(path):
    ledger = Ledger(path)
    bad = scored(0, 1, ["Fe"], 0.5)
    bad.properties = {"density": object()}  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        ledger.record([scored(0, 0, ["Fe"], 0.5), bad])
    assert ledger.candidates() == []
    ledger.record([scored(0, 0, ["Fe"], 0.5)])
    assert len(ledger.candidates()) == 1


@pytest.mark.timeout(20)
def test_a_lock_file_that_ase_left_behind_blocks_nothing(path):
    path.with_name(f"{path.name}.lock").touch()
    ledger = Ledger(path)
    ledger.record([Candidate(0, 0, None)])
    assert len(ledger.candidates()) == 1


def test_a_killed_writer_leaves_no_lock_and_no_half_record(path):
    code = f"""
import os, signal
from pathlib import Path
from matinvent.candidate import Candidate
import matinvent.memory.ledger as module
ledger = module.Ledger(Path({str(path)!r}))
ledger.record([Candidate(0, 0, None)])
encode = module._encode
def encode_or_die(candidate):
    if candidate.index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(candidate)
module._encode = encode_or_die
ledger.record([Candidate(1, i, None) for i in range(4)])
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -9
    ledger = Ledger(path)
    assert [(c.iteration, c.index) for c in ledger.candidates()] == [(0, 0)]
    ledger.record([Candidate(1, 0, None)])
    assert len(ledger.candidates()) == 2


@pytest.mark.parametrize("content", [b"", b"this is not a database" * 100, b"SQLite format 3\0" + b"x" * 4000])
def test_damaged_file_is_a_checkpoint_error(path, content):
    path.write_bytes(content)
    if not content:
        assert Ledger(path).candidates() == []
        return
    with pytest.raises(CheckpointError, match="ledger"):
        Ledger(path)
