"""The journal: what was relaxed is never relaxed again, whatever happened in between."""

from __future__ import annotations

import json
import resource
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import displaced, rocksalt

from matinvent.errors import ConfigError, Failure, InputError
from matinvent.screening.journal import JournaledRelaxer, crystal_key
from matinvent.screening.relaxation import OnResult, Progress, Relaxation


class CountingRelaxer:
    """Swells every crystal by a number that no decimal fraction hits; dies after some if told to."""

    potential = "counting"

    def __init__(self, dies_after: int | None = None, failing: str = "", kind: str = "volume") -> None:
        self.dies_after = dies_after
        self.failing = failing
        self.kind = kind
        self.seen: list[tuple[Structure, float | None]] = []
        self.closed = False

    def relax(
        self,
        structures: Sequence[Structure],
        progress: Progress | None = None,
        *,
        ceilings: Sequence[float | None] | None = None,
        on_result: OnResult | None = None,
    ) -> list[Relaxation | Failure]:
        assert ceilings is not None
        assert on_result is not None
        results: dict[int, Relaxation | Failure] = {}
        for index in reversed(range(len(structures))):  # results come in any order
            if len(self.seen) == self.dies_after:
                raise KeyboardInterrupt
            self.seen.append((structures[index], ceilings[index]))
            results[index] = self._one(structures[index])
            on_result(index, results[index])
            if progress is not None:
                progress(len(results) / len(structures))
        return [results[index] for index in range(len(structures))]

    def close(self) -> None:
        self.closed = True

    def _one(self, structure: Structure) -> Relaxation | Failure:
        if structure.composition.reduced_formula == self.failing:
            return Failure(self.kind, "told to fail")
        swollen = structure.copy()
        swollen.scale_lattice(structure.volume * np.pi / 3)
        return Relaxation(swollen, np.float64(-1 / 3), np.bool_(True), np.int64(7), 0.1 / 3, 2 / 3)


def salts(count: int) -> list[Structure]:
    return [rocksalt(a=5 + 0.1 * n) for n in range(count)]


def exact(result: Relaxation | Failure) -> object:
    if isinstance(result, Failure):
        return result
    bits = crystal_key(result.structure, None)
    return bits, result.energy, result.converged, result.steps, result.max_force, result.rmsd, result.given_up


def relax(
    file: Path, structures: Sequence[Structure], inner: CountingRelaxer | None = None, identity: str = "x", **kwargs
) -> tuple[list[object], int]:
    """Results, and how many were computed."""
    inner = inner or CountingRelaxer()
    relaxer = JournaledRelaxer(inner, file, identity)
    try:
        results = relaxer.relax(structures, **kwargs)
    finally:
        relaxer.close()
    assert inner.closed
    return [exact(result) for result in results], len(inner.seen)


def test_a_second_session_computes_nothing_and_gives_exactly_the_same(tmp_path):
    structures = [displaced(salt, 0.1, seed) for seed, salt in enumerate(salts(4))]
    first, computed = relax(tmp_path / "new" / "j", structures, CountingRelaxer(failing=""))
    assert computed == 4
    again, computed = relax(tmp_path / "new" / "j", structures[::-1])
    assert computed == 0
    assert again == first[::-1]


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1.0, 99.0), min_size=3, max_size=3), st.lists(numbers, min_size=6, max_size=6))
def test_geometry_survives_to_the_last_bit(tmp_path_factory, edges, coords):
    file = tmp_path_factory.mktemp("journal") / "j"
    structure = Structure(Lattice(np.diag(edges)), ["Fe3+", "O2-"], np.reshape(coords, (2, 3)))
    assert relax(file, [structure])[0] == relax(file, [structure])[0]


@pytest.mark.parametrize("dies_after", [0, 1, 3, 5])
def test_a_kill_costs_only_what_was_not_finished(tmp_path, dies_after):
    structures = salts(6)
    whole, _ = relax(tmp_path / "whole", structures)
    with pytest.raises(KeyboardInterrupt):
        relax(tmp_path / "j", structures, CountingRelaxer(dies_after))
    results, computed = relax(tmp_path / "j", structures)
    assert computed == 6 - dies_after
    assert results == whole


@pytest.mark.parametrize("lost", [1, 20, 300])
def test_a_line_cut_off_by_a_kill_is_computed_again_and_spoils_no_other(tmp_path, lost):
    file, structures = tmp_path / "j", salts(3)
    whole, _ = relax(file, structures)
    file.write_bytes(file.read_bytes()[:-lost])
    assert relax(file, structures) == (whole, 1)
    assert relax(file, structures) == (whole, 0)
    assert all(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def test_a_damaged_line_in_the_middle_costs_that_crystal_alone(tmp_path):
    file, structures = tmp_path / "j", salts(4)
    whole, _ = relax(file, structures)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b"\x00" * 40 + b"\n", *lines[3:]]))
    assert relax(file, structures) == (whole, 1)


def test_a_header_cut_off_by_a_kill_starts_anew(tmp_path):
    (tmp_path / "j").write_bytes(b'{"format": 1, "ident')
    assert relax(tmp_path / "j", salts(2))[1] == 2
    assert relax(tmp_path / "j", salts(2))[1] == 0


def test_equal_crystals_are_relaxed_once_and_all_reported(tmp_path):
    reported: list[int] = []
    one, other = salts(2)
    results, computed = relax(tmp_path / "j", [one, other, one], on_result=lambda index, _: reported.append(index))
    assert computed == 2
    assert results[0] == results[2] != results[1]
    assert sorted(reported) == [0, 1, 2]
    reported.clear()
    relax(tmp_path / "j", [other, *salts(3)], on_result=lambda index, _: reported.append(index))
    assert sorted(reported) == [0, 1, 2, 3]


def test_a_crystal_with_another_ceiling_is_another_task(tmp_path):
    [salt] = salts(1)
    assert relax(tmp_path / "j", [salt], ceilings=[-3.0])[1] == 1
    assert relax(tmp_path / "j", [salt], ceilings=[-3.1])[1] == 1
    assert relax(tmp_path / "j", [salt])[1] == 1
    inner = CountingRelaxer()
    relax(tmp_path / "j", [salt, rocksalt("K", "F"), salt], inner, ceilings=[-3.1, -1.0, -2.0])
    assert sorted(ceiling for _, ceiling in inner.seen) == [-2.0, -1.0]


def test_failures_of_the_crystal_are_kept_those_of_the_machine_are_not(tmp_path):
    structures = [rocksalt(), rocksalt("K", "F")]
    for kind, again in (("volume", 0), ("crashed", 1), ("timeout", 1)):
        file = tmp_path / kind
        results, _ = relax(file, structures, CountingRelaxer(failing="KF", kind=kind))
        assert results[1] == Failure(kind, "told to fail")
        _, computed = relax(file, structures)
        assert computed == again


def test_progress_starts_where_the_last_session_ended(tmp_path):
    seen: list[float] = []
    relax(tmp_path / "j", salts(6))
    relax(tmp_path / "j", salts(8), progress=seen.append)
    assert seen == pytest.approx([7 / 8, 1.0])


def test_other_settings_are_refused(tmp_path):
    relax(tmp_path / "j", salts(1), identity="fmax 0.1")
    before = (tmp_path / "j").read_bytes()
    with pytest.raises(ConfigError, match=r"fmax 0\.1.*fmax 0\.05"):
        relax(tmp_path / "j", salts(1), identity="fmax 0.05")
    assert (tmp_path / "j").read_bytes() == before


def test_another_file_is_never_touched(tmp_path):
    (tmp_path / "notes").write_text("my notes\nand more", encoding="utf-8")
    with pytest.raises(InputError, match="not a journal"):
        relax(tmp_path / "notes", salts(1))
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "my notes\nand more"


def test_two_sessions_at_once_are_refused(tmp_path):
    first = JournaledRelaxer(CountingRelaxer(), tmp_path / "j", "x")
    first.relax(salts(1))
    with pytest.raises(InputError, match="another process"):
        relax(tmp_path / "j", salts(1))
    first.close()
    assert relax(tmp_path / "j", salts(1))[1] == 0


def test_nothing_is_written_before_the_first_relaxation(tmp_path):
    JournaledRelaxer(CountingRelaxer(), tmp_path / "new" / "j", "x").close()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def disk_of(size: int):
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path):
    structures = salts(6)
    whole, _ = relax(tmp_path / "whole", structures)
    size = int(0.6 * (tmp_path / "whole").stat().st_size)
    with (
        disk_of(size),
        pytest.raises(InputError, match=r"cannot be written \(File too large\); 3 results in it are safe"),
    ):
        relax(tmp_path / "j", structures)
    assert relax(tmp_path / "j", structures) == (whole, 3)
