"""Giving up: who is far from the goal and no longer gains goes; who still gains, or has no goal, stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.screening_world import LennardJones, displaced, face_centred

from matinvent.screening.batched_relaxer import BatchedRelaxer
from matinvent.screening.give_up import WINDOW, Outlook
from matinvent.screening.relaxation import Relaxation

PATIENT = {"fmax": 1e-3, "max_steps": 400, "batch_atoms": 8, "max_volume_ratio": 3.0}


def verdicts(energies: list[float], ceiling: float | None) -> list[bool]:
    outlook = Outlook(ceiling)
    return [outlook.is_hopeless(energy) for energy in energies]


def test_stuck_far_above_is_hopeless_once_the_window_is_full() -> None:
    assert verdicts([2.0] * (WINDOW + 3), ceiling=0.0) == [False] * WINDOW + [True] * 3


def test_steady_descent_is_not_hopeless() -> None:
    assert not any(verdicts(list(np.linspace(2.0, 0.0, 50)), ceiling=0.0))


def test_almost_there_is_not_hopeless() -> None:
    assert not any(verdicts([0.05] * 100, ceiling=0.0))


def test_energies_that_oscillate_count_as_their_lowest() -> None:
    assert verdicts([1.0, 3.0] * 10, ceiling=0.0)[-1]
    assert not any(verdicts([3.0, 1.0] * (WINDOW // 2) + [0.5, 3.0], ceiling=0.0))


@given(st.lists(st.floats(-10, 10), max_size=30))
def test_without_a_ceiling_nothing_is_hopeless(energies: list[float]) -> None:
    assert not any(verdicts(energies, ceiling=None))


@given(st.lists(st.floats(-10, 10), max_size=30), st.floats(-5, 5), st.floats(0, 5))
def test_a_lower_ceiling_is_never_more_hopeful(energies: list[float], ceiling: float, lower: float) -> None:
    easy, hard = verdicts(energies, ceiling), verdicts(energies, ceiling - lower)
    assert all(b or not a for a, b in zip(easy, hard, strict=True))


@given(st.lists(st.integers(-40, 40), max_size=30), st.integers(-20, 20), st.integers(-400, 400))
def test_only_differences_of_energies_count(energies: list[int], ceiling: int, zero: int) -> None:
    """In quarters of an eV, which are exact."""
    shifted = verdicts([(energy + zero) / 4 for energy in energies], (ceiling + zero) / 4)
    assert shifted == verdicts([energy / 4 for energy in energies], ceiling / 4)


class TestRelaxation:
    @pytest.fixture(scope="class")
    def crystals(self) -> list:
        return [displaced(face_centred(1.6 + 0.04 * n, Ar=(0, 0, 0)), 0.06, seed=n) for n in range(4)]

    @pytest.fixture(scope="class")
    def full(self, crystals: list) -> list[Relaxation]:
        return [r for r in BatchedRelaxer(LennardJones(), **PATIENT).relax(crystals) if isinstance(r, Relaxation)]

    def test_who_reaches_the_ceiling_is_kept(self, crystals: list, full: list[Relaxation]) -> None:
        """The true minimum as the ceiling: the hardest goal that can be reached."""
        ceilings = [result.energy_per_atom + 1e-6 for result in full]
        kept = BatchedRelaxer(LennardJones(), **PATIENT).relax(crystals, ceilings=ceilings)
        assert [result.energy for result in kept] == [result.energy for result in full]
        assert not any(result.given_up for result in kept)

    def test_who_cannot_reach_it_costs_fewer_steps(self, crystals: list, full: list[Relaxation]) -> None:
        ceilings = [result.energy_per_atom - 3 for result in full]
        dropped = BatchedRelaxer(LennardJones(), **PATIENT).relax(crystals, ceilings=ceilings)
        assert all(result.given_up and not result.converged for result in dropped)
        assert all(a.steps < b.steps for a, b in zip(dropped, full, strict=True))
        assert all(a.energy >= b.energy for a, b in zip(dropped, full, strict=True))
        assert all(a.max_force > PATIENT["fmax"] for a in dropped)

    def test_crystals_of_one_batch_have_their_own_ceilings(self, crystals: list, full: list[Relaxation]) -> None:
        ceilings = [None if n % 2 else full[n].energy_per_atom - 3 for n in range(len(full))]
        mixed = BatchedRelaxer(LennardJones(), **PATIENT).relax(crystals, ceilings=ceilings)
        assert [result.given_up for result in mixed] == [n % 2 == 0 for n in range(len(full))]
