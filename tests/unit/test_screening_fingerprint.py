"""Fingerprints: what leaves a crystal the same, what makes it another."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Element, Lattice, Structure
from pymatgen.core.operations import SymmOp
from tests.unit.screening_world import diamond, displaced, face_centred, rocksalt, zincblende

from matinvent.errors import Failure
from matinvent.screening.fingerprint import LENGTH, THRESHOLD, fingerprint
from matinvent.screening.invariants import COUNT, invariants
from matinvent.screening.matching import Catalogue, Identity, Matcher, group_unique, identify
from matinvent.screening.neighbors import Crystal, find_neighbors
from matinvent.screening.substitution import are_similar, merge_similar

FCC_SITES = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
PEROVSKITE = Structure(
    Lattice.orthorhombic(3.9, 4.0, 4.3),
    ["Ba", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5, 0.5, 0.48], [0.5, 0.5, 0.02], [0.5, 0, 0.52], [0, 0.5, 0.5]],
)


def values(structure: Structure) -> np.ndarray:
    return fingerprint(Crystal.from_structure(structure))


def distance(first: Structure, second: Structure) -> float:
    return float(np.linalg.norm(values(first) - values(second)))


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
    assert invariants(Crystal.from_structure(diamond())).shape == (COUNT,)


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
    assert distance(PEROVSKITE, other) < 1e-3


def test_does_not_depend_on_volume_or_handedness() -> None:
    other = PEROVSKITE.copy()
    other.scale_lattice(PEROVSKITE.volume * 1.2)
    assert distance(PEROVSKITE, other) < 1e-3
    mirrored = Structure(PEROVSKITE.lattice, PEROVSKITE.species, -PEROVSKITE.frac_coords)
    assert distance(PEROVSKITE, mirrored) < 1e-3


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_changes_continuously(seed: int) -> None:
    near, far = displaced(PEROVSKITE, 0.0005, seed), displaced(PEROVSKITE, 0.02, seed)
    assert distance(PEROVSKITE, near) < 0.05
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


def test_nearest_neighbour_distances_are_those_of_rock_salt() -> None:
    scale = (5.64**3 / 8) ** (1 / 3)
    six_near, eighteen, spread = invariants(Crystal.from_structure(rocksalt(a=5.64)))[[4, 7, 10]]
    assert six_near * scale == pytest.approx(5.64 / 2, rel=1e-5)  # six anions
    assert eighteen * scale == pytest.approx(5.64 / np.sqrt(2), rel=1e-5)  # then twelve cations
    assert spread == pytest.approx(0, abs=1e-6)


def test_lonely_and_coincident_atoms_leave_it_finite() -> None:
    lonely = Structure(Lattice.orthorhombic(3, 3, 300), ["Ar", "Ar"], [[0, 0, 0], [0, 0, 0.5]])
    coincident = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0]])
    assert np.isfinite(values(lonely)).all()
    assert np.isfinite(values(coincident)).all()


def test_catalogue_names_the_closest() -> None:
    catalogue = Catalogue()
    salt = identify(rocksalt())
    assert isinstance(salt, Identity)
    for label, offset in (("far", 0.1), ("near", 0.03)):
        other = identify(displaced(rocksalt(), offset, 3))
        assert isinstance(other, Identity)
        catalogue.add(other, label)
    assert catalogue.find(salt) == "near"
    assert catalogue.find(Identity("KCl", salt.crystal)) is None


def test_catalogue_survives_its_state() -> None:
    catalogue, restored = Catalogue(), Catalogue()
    for crystal, label in ((rocksalt(), "halite"), (zincblende(), "other")):
        identity = identify(crystal)
        assert isinstance(identity, Identity)
        catalogue.add(identity, label)
    restored.load_state_dict(json.loads(json.dumps(catalogue.state_dict())))
    wanted = identify(displaced(zincblende(), 0.01, 2))
    assert isinstance(wanted, Identity)
    assert restored.find(wanted) == catalogue.find(wanted) == "other"


def test_structure_matcher_has_the_last_word_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    crystals = [rocksalt(), displaced(rocksalt(), 0.01, 1)]
    assert group_unique(crystals, Matcher(exact=True)) == [0, 0]
    monkeypatch.setattr("pymatgen.analysis.structure_matcher.StructureMatcher.fit", lambda *_: False)
    assert group_unique(crystals, Matcher(exact=True)) == [0, 1]
    assert group_unique(crystals, Matcher(exact=False)) == [0, 0]


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (("Cu", "Au"), True),
        (("Ag", "Au"), True),
        (("Fe", "Ni"), True),
        (("La", "Ce"), True),
        (("Na", "Cl"), False),
        (("Ti", "O"), False),
        (("Li", "Cs"), False),
        (("Ar", "Kr"), False),
    ],
)
def test_elements_that_form_solid_solutions(pair: tuple[str, str], expected: bool) -> None:
    one, other = (Element(symbol).Z for symbol in pair)
    assert are_similar(one, other) is expected
    assert are_similar(other, one) is expected


def test_orderings_of_one_alloy_count_as_one_when_asked() -> None:
    layered = Structure(Lattice.cubic(3.9), ["Cu", "Cu", "Au", "Au"], FCC_SITES)
    chains = layered.copy()
    chains.make_supercell([2, 1, 1])
    for site, symbol in enumerate(["Cu", "Au", "Cu", "Au", "Au", "Cu", "Au", "Cu"]):
        chains.replace(site, symbol)
    salts = [rocksalt(), zincblende()]
    assert group_unique([layered, chains]) == [0, 1]
    assert group_unique([layered, chains], Matcher(disordered=True)) == [0, 0]
    assert group_unique([layered, chains], Matcher(disordered=True, exact=True)) == [0, 0]
    assert group_unique(salts, Matcher(disordered=True)) == [0, 1]


def test_merging_joins_chains_of_similar_elements_and_nothing_else() -> None:
    crystal = Crystal(np.array([26, 27, 28, 8]), np.eye(3) * 5, np.zeros((4, 3)))
    assert merge_similar(crystal).numbers.tolist() == [26, 26, 26, 8]
    salt = Crystal.from_structure(rocksalt())
    assert merge_similar(salt) is salt


def test_disordered_crystal_has_no_identity() -> None:
    result = identify(Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]]))
    assert isinstance(result, Failure)
    assert result.kind == "disordered"
