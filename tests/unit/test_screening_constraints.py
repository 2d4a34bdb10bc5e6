"""Hard constraints: elements, size, symmetry, charges; nothing is paid for what they exclude."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import displaced, rocksalt

from matinvent.candidate import Candidate, Fate
from matinvent.config_goals import ConstraintsConfig
from matinvent.config_screening import ScreeningConfig
from matinvent.elements import element_groups
from matinvent.errors import ConfigError, Failure
from matinvent.screening.constraints import Constraints
from matinvent.screening.relaxation import Relaxation
from matinvent.screening.screen import Screener

PEROVSKITE = Structure(
    Lattice.cubic(3.95),
    ["Sr", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
)
SALT = rocksalt()
ALLOY = Structure(Lattice.cubic(3.0), ["Ni", "Ti"], [[0, 0, 0], [0.5] * 3])


def verdict(structure: Structure, **settings: object) -> str:
    failure = Constraints(ConstraintsConfig.model_validate(settings)).check(structure)
    return "" if failure is None else str(failure)


def test_without_constraints_all_pass() -> None:
    assert [verdict(s) for s in (PEROVSKITE, SALT, ALLOY)] == ["", "", ""]


@pytest.mark.parametrize(
    ("structure", "settings", "reason"),
    [
        (SALT, {"allowed": ["Na", "halogen"]}, ""),
        (SALT, {"allowed": ["Na", "K"]}, "Cl not allowed"),
        (SALT, {"forbidden": ["alkali"]}, "Na forbidden"),
        (SALT, {"forbidden": ["radioactive", "toxic", "rare_earth", "precious"]}, ""),
        (rocksalt("Pb", "Te"), {"forbidden": ["toxic"]}, "Pb forbidden"),
        (SALT, {"required": ["Na", "halogen"]}, ""),
        (SALT, {"required": ["chalcogen"]}, "no chalcogen"),
        (PEROVSKITE, {"min_elements": 3, "max_elements": 3}, ""),
        (PEROVSKITE, {"max_elements": 2}, "3 elements"),
        (SALT, {"max_atoms": 2}, ""),  # 8 atoms in the cell, 2 in the primitive one
        (SALT, {"min_atoms": 3}, "2 atoms"),
        (SALT * (2, 1, 1), {"max_atoms": 2}, ""),
        (SALT, {"space_groups": [225]}, ""),
        (PEROVSKITE, {"space_groups": [225, 227]}, "Pm-3m (221)"),
        (SALT, {"crystal_systems": ["cubic"]}, ""),
        (SALT, {"crystal_systems": ["hexagonal", "trigonal"]}, "cubic"),
        (displaced(SALT, 0.3, seed=1), {"crystal_systems": ["cubic"]}, "triclinic"),
        (SALT, {"charge_balanced": True}, ""),
        (ALLOY, {"charge_balanced": True}, "smact"),
    ],
)  # fmt: skip
def test_verdicts(structure: Structure, settings: dict[str, object], reason: str) -> None:
    found = verdict(structure, **settings)
    assert found == "" if not reason else reason in found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forbidden": ["rare_earths"]}, "did you mean 'rare_earth"),
        ({"allowed": ["Xx"]}, r"constraints\.allowed: 'Xx'"),
        ({"allowed": ["Fe"], "forbidden": ["Fe"]}, "every allowed element is forbidden"),
        ({"required": ["Fe"], "forbidden": ["transition_metal"]}, "Fe is not among"),
        ({"required": ["Fe"], "allowed": ["Co"]}, "Fe is not among"),
        ({"required": ["fe"]}, "did you mean 'Fe'"),
        ({"space_groups": [225], "crystal_systems": ["hexagonal"]}, "none of the space groups 225 is hexagonal"),
    ],
)
def test_constraints_that_cannot_be_met_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Constraints(ConstraintsConfig.model_validate(settings))


def test_groups_hold_what_chemists_expect() -> None:
    groups = element_groups()
    assert {"Sc", "Y", "La", "Lu"} <= groups["rare_earth"]
    assert not groups["rare_earth"] & groups["actinide"]
    assert {"U", "Tc", "Pm"} <= groups["radioactive"]
    assert "Bi" not in groups["radioactive"]


class Recorder:
    """A relaxer that remembers what it was given and turns every crystal into a distorted one."""

    potential = "none"

    def __init__(self) -> None:
        self.relaxed: list[str] = []

    def relax(self, structures, progress=None, *, ceilings=None, on_result=None):
        self.relaxed += [structure.composition.reduced_formula for structure in structures]
        return [Relaxation(displaced(s, 0.3, seed=0), 0.0, True, 1, 0.0, 0.3) for s in structures]

    def close(self) -> None:
        pass


def test_the_excluded_are_never_relaxed_and_symmetry_counts_to_the_end() -> None:
    relaxer = Recorder()
    config = ScreeningConfig.model_validate({"stability": False, "novelty": False})
    constraints = Constraints(ConstraintsConfig(forbidden=("K",), crystal_systems=("cubic",)))
    screener = Screener(config, constraints, relaxer=relaxer)
    candidates = [Candidate.of(0, i, s) for i, s in enumerate([SALT, rocksalt("K", "Cl", 6.3)])]
    candidates.append(Candidate.of(0, 2, Failure("collapsed", "no volume")))
    assert screener.screen(candidates, 3) == []
    assert relaxer.relaxed == ["NaCl"]
    assert [candidate.fate for candidate in candidates] == [Fate.EXCLUDED, Fate.EXCLUDED, Fate.INVALID]
    assert candidates[0].reason == "after relaxation: symmetry: triclinic crystal"
    assert candidates[1].reason == "elements: K forbidden"
