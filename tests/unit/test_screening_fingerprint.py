"""Fingerprints: what leaves a crystal the same, what makes it another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp
from tests.unit.screening_world import diamond, displaced, face_centred, rocksalt, zincblende

from matinvent.errors import Failure
from matinvent.screening.fingerprint import LENGTH, fingerprint
from matinvent.screening.matching import THRESHOLD, Catalogue, Identity, group_unique, identify
from matinvent.screening.neighbors import Crystal, find_neighbors

PEROVSKITE = Structure(
    Lattice.orthorhombic(3.9, 4.0, 4.3),
    ["Ba", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5, 0.5, 0.48], [0.5, 0.5, 0.02], [0.5, 0, 0.52], [0, 0.5, 0.5]],
)


def values(structure: Structure) -> np.ndarray:
    return fingerprint(Crystal.from_structure(structure))


def distance(first: Structure, second: Structure) -> float:
    return float(np.abs(values(first) - values(second)).max())


def fluorite() -> Structure:
    vectors = Lattice([[0, 2.73, 2.73], [2.73, 0, 2.73], [2.73, 2.73, 0]])
    return Structure(vectors, ["Ca", "F", "F"], [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])


def half_heusler(corner: str, middle: str, quarter: str) -> Structure:
    return face_centred(6.0, **{corner: (0, 0, 0), middle: (0.5, 0.5, 0.5), quarter: (0.25, 0.25, 0.25)})


def test_nearest_neighbours_of_rock_salt() -> None:
    pairs = find_neighbors(Crystal.from_structure(rocksalt(a=5.64)), 2.9)
    assert np.bincount(pairs.center).tolist() == [6] * 8
    assert pairs.distance == pytest.approx(2.82)


def test_length_and_shape() -> None:
    assert values(diamond()).shape == (LENGTH,)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    st.floats(0, 360),
    st.integers(0, 1000),
    st.sampled_from(
        [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[2, 1, 0], [0, 1, 0], [0, 0, 1]], [[1, 1, 0], [-1, 1, 0], [0, 2, 1]]]
    ),
)
def test_does_not_depend_on_how_a_crystal_is_drawn(
    shift: list[float], angle: float, seed: int, cell: list[list[int]]
) -> None:
    other = PEROVSKITE.copy()
    other.make_supercell(cell)
    other.translate_sites(range(len(other)), shift)
    other.apply_operation(SymmOp.from_axis_angle_and_translation([1, 2, 3], angle))
    order = np.random.default_rng(seed).permutation(len(other))
    other = Structure.from_sites([other[int(i)] for i in order])
    assert distance(PEROVSKITE, other) < 1e-6


def test_does_not_depend_on_volume_or_handedness() -> None:
    other = PEROVSKITE.copy()
    other.scale_lattice(PEROVSKITE.volume * 1.2)
    assert distance(PEROVSKITE, other) < 1e-9
    mirrored = Structure(PEROVSKITE.lattice, PEROVSKITE.species, -PEROVSKITE.frac_coords)
    assert distance(PEROVSKITE, mirrored) < 1e-9


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_changes_continuously(seed: int) -> None:
    near, far = displaced(PEROVSKITE, 0.0005, seed), displaced(PEROVSKITE, 0.02, seed)
    assert distance(PEROVSKITE, near) < 0.003
    assert distance(PEROVSKITE, far) < THRESHOLD


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (rocksalt(), zincblende()),
        (diamond(), Structure(Lattice.cubic(3.0), ["Si"], [[0, 0, 0]])),
        (half_heusler("Zr", "Sn", "Ni"), half_heusler("Ni", "Sn", "Zr")),
        (half_heusler("Zr", "Sn", "Ni"), half_heusler("Zr", "Ni", "Sn")),
        (
            fluorite(),
            Structure(Lattice.tetragonal(4.0, 5.0), ["Ca", "F", "F"], [[0, 0, 0], [0.5, 0.5, 0.3], [0.5, 0.5, 0.7]]),
        ),
    ],
    ids=["rocksalt-zincblende", "diamond-cubic", "half-heusler-centre", "half-heusler-anion", "fluorite-layers"],
)
def test_tells_structure_types_and_decorations_apart(first: Structure, second: Structure) -> None:
    assert distance(first, second) > THRESHOLD


def test_groups_by_composition_and_geometry() -> None:
    broken = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0, 0]])
    supercell = rocksalt().copy()
    supercell.make_supercell([1, 1, 2])
    crystals = [
        rocksalt(),
        zincblende(),
        broken,
        supercell,
        rocksalt("Li", "F"),
        displaced(zincblende(), 0.01, 1),
        broken,
    ]
    assert group_unique(crystals) == [0, 1, 2, 0, 4, 1, 6]


def test_catalogue_names_the_closest() -> None:
    catalogue = Catalogue()
    salt = identify(rocksalt())
    assert isinstance(salt, Identity)
    for label, offset in (("far", 0.05), ("near", 0.01)):
        catalogue.add(Identity(salt.composition, salt.fingerprint + offset), label)
    assert catalogue.find(salt) == "near"
    assert catalogue.find(Identity("KCl", salt.fingerprint)) is None


def test_disordered_crystal_has_no_identity() -> None:
    result = identify(Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]]))
    assert isinstance(result, Failure)
    assert result.kind == "disordered"
