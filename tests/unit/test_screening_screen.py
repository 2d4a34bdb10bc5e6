"""The screener: every candidate gets the right fate, in order, and no more work than needed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import SALTS, StillRelaxer, displaced, rocksalt, salt_reference, zincblende

from matinvent.candidate import Candidate, Fate, funnel
from matinvent.config_screening import RelaxationConfig, ScreeningConfig
from matinvent.errors import ConfigError
from matinvent.screening.screen import Screener


def screener(relaxer: StillRelaxer | None = None, **changes: object) -> Screener:
    return Screener(ScreeningConfig(**changes), relaxer=relaxer or StillRelaxer(SALTS), reference=salt_reference())


def batch(*structures: Structure | None) -> list[Candidate]:
    return [Candidate(0, index, structure) for index, structure in enumerate(structures)]


def fates(candidates: list[Candidate]) -> list[str]:
    return [str(candidate.fate) for candidate in candidates]


def test_every_station_has_its_fate() -> None:
    lost = Candidate(0, 0, None)
    lost.reject(Fate.INVALID, "the generator produced nothing")
    candidates = [
        lost,
        *batch(
            Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.02]]),
            rocksalt("K", "F"),
            rocksalt("Li", "Cl"),
            rocksalt("K", "Cl", 6.3),
            displaced(rocksalt("K", "Cl", 6.2), 0.01, seed=0),
            rocksalt(),
            zincblende(),
        ),
    ]
    relaxer = StillRelaxer(SALTS | {"LiCl": -3.4}, failing=["KF"])
    survivors = screener(relaxer, exhaustive=True).screen(candidates, 4)
    assert fates(candidates) == [
        "invalid", "invalid", "relax_failed", "unstable", "survived", "duplicate", "known", "survived",
    ]  # fmt: skip
    assert survivors == [candidates[4], candidates[7]]
    assert lost.reason == "the generator produced nothing"
    assert all(candidate.reason for candidate in candidates if candidate.fate is not Fate.SURVIVED)
    assert "halite" in candidates[6].reason
    assert "0.200 eV/atom above 1.00 LiCl" in candidates[3].reason
    assert funnel(candidates) == {
        "sampled": 8, "valid": 6, "relaxed": 5, "stable": 4, "unique": 3, "novel": 2, "scored": 0,
    }  # fmt: skip


def test_what_the_relaxation_found_is_recorded() -> None:
    [candidate] = batch(rocksalt("K", "Cl"))
    screener().screen([candidate], 1)
    assert candidate.relaxed is not None
    assert candidate.energy_per_atom == pytest.approx(-3.3)
    assert candidate.e_above_hull == pytest.approx(0.0)
    assert (candidate.rmsd, candidate.relax_steps, candidate.converged) == (0.1, 3, True)


def different_salts(count: int) -> list[Structure]:
    """Sodium chlorides, each a little longer than the one before."""
    return [
        Structure(Lattice.tetragonal(4.0, 4.0 + 0.5 * n), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        for n in range(1, count + 1)
    ]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 20), st.booleans())
def test_stops_once_there_are_enough(wanted: int, exhaustive: bool) -> None:
    candidates = batch(*different_salts(24))
    relaxer = StillRelaxer(SALTS)
    survivors = screener(relaxer, exhaustive=exhaustive, uniqueness=False, novelty=False).screen(candidates, wanted)
    assert len(survivors) >= min(wanted, 24)
    assert survivors == [candidate for candidate in candidates if candidate.fate is Fate.SURVIVED]
    untouched = [candidate for candidate in candidates if candidate.fate is Fate.GENERATED]
    assert len(relaxer.relaxed) + len(untouched) == 24
    assert all(candidate.reason.startswith("not screened") for candidate in untouched)
    if exhaustive:
        assert not untouched
    elif wanted == 0:
        assert len(untouched) == 24
    else:
        assert len(relaxer.relaxed) <= max(16, 2 * wanted)


def test_the_reserve_is_called_in_when_too_few_survive() -> None:
    unstable, *salts = batch(rocksalt("Rb", "Cl"), *different_salts(20))
    relaxer = StillRelaxer({**SALTS, "RbCl": 0.0})
    survivors = screener(relaxer).screen([unstable], 12, reserve=salts, fewest=3)
    assert len(survivors) >= 3
    assert set(map(id, survivors)) <= set(map(id, salts))


def test_the_reserve_stays_where_enough_survive() -> None:
    first, *salts = batch(*different_salts(20))
    assert screener().screen([first], 12, reserve=salts, fewest=1) == [first]
    assert {candidate.fate for candidate in salts} == {Fate.GENERATED}
    assert {candidate.reason for candidate in salts} == {"not screened: too little is expected of it"}


def test_the_reserve_is_validated_and_unique_with_the_rest() -> None:
    salts = different_salts(9)[::8]
    broken = Structure(Lattice.cubic(30), ["Na"], [[0, 0, 0]])
    first, twin, other, broken = batch(salts[0], salts[0], salts[1], broken)
    judge = screener(unique_within="batch")
    assert judge.screen([first], 12, reserve=[twin, other, broken], fewest=2) == [first, other]
    assert twin.fate is Fate.DUPLICATE
    assert broken.fate is Fate.INVALID


def test_validity_is_checked_for_all_even_when_screening_stops() -> None:
    candidates = batch(*different_salts(20), Structure(Lattice.cubic(30), ["Na"], [[0, 0, 0]]))
    screener().screen(candidates, 1)
    assert candidates[-1].fate is Fate.INVALID


def test_screening_off_keeps_all_valid_ones_and_relaxes_none() -> None:
    relaxer = StillRelaxer(SALTS)
    candidates = batch(rocksalt(), rocksalt(), Structure(Lattice.cubic(30), ["Na"], [[0, 0, 0]]))
    survivors = screener(relaxer, enabled=False).screen(candidates, 1)
    assert survivors == candidates[:2]
    assert relaxer.relaxed == []


def test_relaxation_off_judges_the_crystal_as_generated() -> None:
    config = {"relaxation": RelaxationConfig(enabled=False)}
    [candidate] = batch(rocksalt("K", "Cl"))
    assert screener(**config).screen([candidate], 1) == [candidate]
    assert candidate.relaxed is None
    assert candidate.relax_steps is None
    assert candidate.e_above_hull == pytest.approx(0.0)


def test_without_relaxation_and_stability_no_energy_is_computed() -> None:
    relaxer = StillRelaxer({})
    [candidate] = batch(rocksalt("K", "Cl"))
    config = {"relaxation": RelaxationConfig(enabled=False), "stability": False}
    assert screener(relaxer, **config).screen([candidate], 1) == [candidate]
    assert relaxer.relaxed == []


def test_element_without_reference_is_not_called_stable() -> None:
    [candidate] = batch(rocksalt("Rb", "Cl", 6.6))
    assert screener(StillRelaxer({"RbCl": -3.0})).screen([candidate], 1) == []
    assert candidate.fate is Fate.UNSTABLE
    assert "Rb" in candidate.reason


def test_energy_too_good_to_be_true_is_a_failure_of_the_potential() -> None:
    [candidate] = batch(rocksalt("K", "Cl"))
    assert screener(StillRelaxer({"KCl": -9.0})).screen([candidate], 1) == []
    assert candidate.fate is Fate.RELAX_FAILED
    assert "implausible" in candidate.reason


def test_relaxed_crystal_must_still_be_possible() -> None:
    class Stretching(StillRelaxer):
        def _one(self, structure):
            stretched = structure.copy()
            stretched.scale_lattice(40**3)
            return super()._one(stretched)

    [candidate] = batch(rocksalt("K", "Cl"))
    assert screener(Stretching(SALTS)).screen([candidate], 1) == []
    assert candidate.fate is Fate.RELAX_FAILED
    assert "length" in candidate.reason


def test_energy_scales_are_never_mixed() -> None:
    relaxer = StillRelaxer(SALTS)
    relaxer.potential = "another"
    with pytest.raises(ConfigError, match="reference build"):
        Screener(ScreeningConfig(), relaxer=relaxer, reference=salt_reference())
    Screener(ScreeningConfig(stability=False), relaxer=relaxer, reference=salt_reference()).close()


def test_progress_reaches_one_also_without_candidates() -> None:
    seen: list[float] = []
    screener().screen([], 4, seen.append)
    assert seen == [1.0]
    screener().screen(batch(*different_salts(20)), 1, seen.append)
    assert seen[1:] == sorted(seen[1:])


def test_close_stops_the_relaxer() -> None:
    relaxer = StillRelaxer(SALTS)
    screener(relaxer).close()
    assert relaxer.closed


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, matinvent.screening.screen; print({'torch', 'pymatgen', 'chgnet', 'ase'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_competing_phases_and_twins_are_recorded() -> None:
    above, same = batch(rocksalt("K", "Cl"), rocksalt())
    screener(exhaustive=True, max_e_above_hull=-0.1).screen([above], 1)
    assert above.decomposition == "1.00 KCl"
    screener().screen([same], 1)
    assert same.twin == "halite"


def test_messages_name_the_file_of_a_crystal() -> None:
    candidates = [Candidate.of(0, i, rocksalt("K", "Cl"), source) for i, source in enumerate(["a.cif", "b.cif"])]
    screener(exhaustive=True).screen(candidates, 2)
    assert candidates[1].reason == "same crystal as a.cif"
    assert candidates[1].twin == "a.cif"


@pytest.mark.parametrize(("within", "expected"), [("batch", "survived"), ("campaign", "duplicate")])
def test_uniqueness_within_a_batch_or_the_whole_campaign(within: str, expected: str) -> None:
    first, second = batch(rocksalt("K", "Cl")), batch(rocksalt("K", "Cl"))
    before, after = screener(unique_within=within), screener(unique_within=within)
    before.screen(first, 1)
    after.load_state_dict(before.state_dict())  # as a resumed campaign does
    after.screen(second, 1)
    assert (first[0].fate, second[0].fate) == ("survived", expected)


def test_twins_of_stable_crystals_are_not_relaxed_again() -> None:
    relaxer = StillRelaxer(SALTS)
    judge = screener(relaxer)
    judge.screen(batch(rocksalt("K", "Cl", 6.3)), 1)
    again = batch(displaced(rocksalt("K", "Cl", 6.2), 0.02, seed=1), zincblende("K", "Cl", 6.9))
    assert judge.screen(again, 2) == [again[1]]
    assert relaxer.relaxed == ["KCl", "KCl"]
    assert (again[0].fate, again[0].twin) == ("duplicate", "crystal 0 of iteration 0")
    assert again[0].relaxed is None


def test_what_is_forgotten_can_survive_again() -> None:
    judge = screener()
    first = batch(rocksalt("K", "Cl"), zincblende("K", "Cl", 6.9))
    assert judge.screen(first, 2) == first
    judge.forget(first[1:])
    again = batch(rocksalt("K", "Cl"), zincblende("K", "Cl", 6.9))
    judge.screen(again, 2)
    assert fates(again) == ["duplicate", "survived"]


@pytest.mark.parametrize("changes", [{"skip_twins": False}, {"exhaustive": True}, {"uniqueness": False}])
def test_all_are_relaxed_where_twins_are_not_skipped(changes: dict[str, bool]) -> None:
    relaxer = StillRelaxer(SALTS)
    judge = screener(relaxer, novelty=False, **changes)
    for _ in range(2):
        judge.screen(batch(rocksalt("K", "Cl", 6.3)), 1)
    assert relaxer.relaxed == ["KCl", "KCl"]


@pytest.mark.parametrize(("energy", "relaxed"), [(-3.3, 1), (-3.0, 3)])
def test_of_twins_in_one_chunk_the_first_goes_ahead(energy: float, relaxed: int) -> None:
    relaxer = StillRelaxer(SALTS | {"KCl": energy})
    twins = batch(*(displaced(rocksalt("K", "Cl", 6.3), 0.02, seed) for seed in range(3)))
    screener(relaxer).screen(twins, 3)
    assert len(relaxer.relaxed) == relaxed  # what is not stable says nothing about the others
    assert fates(twins) == (["survived", "duplicate", "duplicate"] if relaxed == 1 else ["unstable"] * 3)


def test_relaxations_know_how_low_a_crystal_must_come() -> None:
    unknown = Structure(Lattice.cubic(4), ["Cs", "I"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    relaxer = StillRelaxer(SALTS | {"CsI": -3.0})
    screener(relaxer, exhaustive=True, max_e_above_hull=0.2).screen(batch(rocksalt("K", "Cl"), unknown), 2)
    assert relaxer.ceilings == [pytest.approx(SALTS["KCl"] + 0.2), None]
    screener(relaxer, relaxation=RelaxationConfig(give_up=False)).screen(batch(rocksalt("K", "Cl")), 1)
    assert relaxer.ceilings is None
