"""Validity: every way a generated crystal can be impossible, and that possible ones pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import DummySpecies, Lattice, Structure
from tests.unit.screening_world import diamond, rocksalt

from matinvent.config_screening import ValidityConfig
from matinvent.screening.validity import check_validity

DEFAULT = ValidityConfig()


def cubic(a: float, species: list, coords: list) -> Structure:
    return Structure(Lattice.cubic(a), species, coords)


IMPOSSIBLE = {
    "not-finite": cubic(4, ["Na", "Cl"], [[0, 0, 0], [np.nan, 0.5, 0.5]]),
    "overlap": cubic(4, ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.12]]),
    "volume": Structure(Lattice([[1, 0, 0], [0, 1, 0], [1, 1, 1e-3]]), ["Na"], [[0, 0, 0]]),
    "length": cubic(25.1, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "flat-cell": Structure(Lattice([[20, 0, 0], [0, 20, 0], [9, 9, 0.2]]), ["Na"], [[0, 0, 0]]),
    "too-dense": Structure(Lattice.cubic(1.2), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "disordered": cubic(4, [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]]),
    "unknown-element": cubic(4, [DummySpecies("X")], [[0, 0, 0]]),
    "smact": cubic(4, ["Na", "Cl", "Cl"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]]),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_impossible_crystal_says_why(kind: str) -> None:
    failure = check_validity(IMPOSSIBLE[kind], DEFAULT)
    assert failure is not None
    assert failure.kind == kind
    assert len(failure.reason) > 10


def test_coincident_atoms_overlap() -> None:
    failure = check_validity(cubic(4, ["Na", "Cl"], [[0, 0, 0], [0, 0, 1.0]]), DEFAULT)
    assert failure is not None
    assert failure.kind == "overlap"


def test_an_atom_overlaps_with_its_own_image() -> None:
    failure = check_validity(Structure(Lattice.orthorhombic(9, 9, 0.45), ["Na"], [[0, 0, 0]]), DEFAULT)
    assert failure is not None
    assert failure.kind == "overlap"


def test_infinite_lattice_is_not_finite() -> None:
    failure = check_validity(Structure(Lattice(np.full((3, 3), np.inf)), ["Na"], [[0, 0, 0]]), DEFAULT)
    assert failure is not None
    assert failure.kind == "not-finite"


@pytest.mark.parametrize(
    "structure",
    [rocksalt(), diamond(), cubic(2.97, ["Ni", "Ti"], [[0, 0, 0], [0.5, 0.5, 0.5]]), cubic(5.4, ["Xe"], [[0, 0, 0]])],
    ids=["salt", "element", "alloy", "noble-gas"],
)
def test_possible_crystal_passes(structure: Structure) -> None:
    assert check_validity(structure, DEFAULT) is None


def test_a_long_supercell_is_as_possible_as_its_primitive_cell() -> None:
    supercell = rocksalt()
    supercell.make_supercell([1, 1, 8])
    assert supercell.lattice.c > DEFAULT.max_length
    assert check_validity(supercell, DEFAULT) is None
    stretched = Structure(Lattice.orthorhombic(4, 4, 30), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.1]])
    failure = check_validity(stretched, DEFAULT)
    assert failure is not None
    assert failure.kind == "length"


def test_charge_balance_can_be_switched_off() -> None:
    assert check_validity(IMPOSSIBLE["smact"], ValidityConfig(smact=False)) is None


def test_elements_without_oxidation_states_do_not_raise() -> None:
    assert check_validity(cubic(4, ["Lr", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]), DEFAULT) is not None


def test_many_elements_do_not_take_for_ever() -> None:
    elements = ["Li", "Na", "K", "Mg", "Ca", "Fe", "Mn", "Co", "Ni", "O", "S", "F"]
    coords = [[i / 12, (5 * i % 12) / 12, (7 * i % 12) / 12] for i in range(12)]
    failure = check_validity(cubic(9, elements, coords), DEFAULT)
    assert failure is not None
    assert failure.kind == "smact"


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 3.0), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_overlap_is_decided_by_distance_alone(distance: float, origin: list[float]) -> None:
    coords = np.array([[0, 0, 0], [0, 0, distance]]) + origin
    pair = Structure(Lattice.cubic(8), ["Na", "Cl"], coords, coords_are_cartesian=True)
    failure = check_validity(pair, ValidityConfig(min_distance=1.0))
    if abs(distance - 1.0) > 1e-6:
        assert (failure is not None) == (distance < 1.0)
