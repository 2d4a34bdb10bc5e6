"""Distances, coordination, filling, symmetry and dimensionality of known crystals."""

from __future__ import annotations

import math

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from matinvent.errors import Failure
from matinvent.properties.packing import Packing
from matinvent.properties.symmetry import CrystalSymmetry, Dimensionality
from matinvent.testing.evaluators import check_evaluator

ORIGIN, QUARTER, HALF = [0.0] * 3, [0.25] * 3, [0.5] * 3
THIRD = [1 / 3, 2 / 3]


def crystal(group: str, lattice: Lattice, species: list[str], positions: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(group, lattice, species, positions)


COPPER = crystal("Fm-3m", Lattice.cubic(3.615), ["Cu"], [ORIGIN])
IRON = crystal("Im-3m", Lattice.cubic(2.866), ["Fe"], [ORIGIN])
SILICON = crystal("Fd-3m", Lattice.cubic(5.431), ["Si"], [ORIGIN])
ROCK_SALT = crystal("Fm-3m", Lattice.cubic(5.640), ["Na", "Cl"], [ORIGIN, HALF])
MAGNESIUM = crystal("P6_3/mmc", Lattice.hexagonal(3.209, 5.211), ["Mg"], [[*THIRD, 0.25]])
GRAPHITE = crystal("P6_3/mmc", Lattice.hexagonal(2.464, 6.711), ["C", "C"], [[0, 0, 0.25], [*THIRD, 0.25]])
MOLYBDENITE = crystal("P6_3/mmc", Lattice.hexagonal(3.161, 12.295), ["Mo", "S"], [[*THIRD, 0.25], [*THIRD, 0.621]])
SELENIUM = crystal("P3_121", Lattice.hexagonal(4.366, 4.954), ["Se"], [[0.2254, 0, 1 / 3]])
RUTILE = crystal("P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [ORIGIN, [0.305, 0.305, 0]])
NITROGEN = Structure(Lattice.cubic(5.66), ["N", "N"], [[0.45, 0.5, 0.5], [0.645, 0.5, 0.5]])
TRICLINIC = Structure(
    Lattice.from_parameters(3.9, 4.7, 5.6, 81, 97, 74), ["Na", "Cl", "O"], [ORIGIN, [0.4, 0.5, 0.6], [0.8, 0.2, 0.3]]
)
CRYSTALS = [COPPER, SILICON, ROCK_SALT, GRAPHITE, RUTILE, TRICLINIC]


def value(evaluator: object, name: str, structure: Structure) -> float | Failure:
    (result,) = evaluator.evaluate([structure])
    return result if isinstance(result, Failure) else result[name]


@pytest.mark.parametrize(
    ("structure", "distance", "volume"),
    [
        (COPPER, 3.615 / math.sqrt(2), 3.615**3 / 4),
        (IRON, 2.866 * math.sqrt(3) / 2, 2.866**3 / 2),
        (SILICON, 5.431 * math.sqrt(3) / 4, 5.431**3 / 8),
        (ROCK_SALT, 2.820, 5.640**3 / 8),
        (GRAPHITE, 2.464 / math.sqrt(3), 2.464**2 * 6.711 * math.sqrt(3) / 8),
        # Its own images are the nearest neighbours of a single atom.
        (Structure(Lattice.orthorhombic(3, 4, 5), ["Fe"], [ORIGIN]), 3.0, 60.0),
    ],
)
def test_distances_and_volumes(structure, distance, volume):
    assert value(Packing(), "minimum_distance", structure) == pytest.approx(distance)
    assert value(Packing(), "volume_per_atom", structure) == pytest.approx(volume)


def test_the_nearest_neighbour_may_be_beyond_a_short_edge():
    needle = Structure(Lattice.from_parameters(3, 40, 40, 90, 90, 90), ["Fe", "Ni"], [ORIGIN, [0.1, 0.05, 0]])
    assert value(Packing(), "minimum_distance", needle) == pytest.approx(math.hypot(0.3, 2.0))
    apart = Structure(Lattice.from_parameters(3, 40, 40, 90, 90, 90), ["Fe", "Ni"], [ORIGIN, HALF])
    assert value(Packing(), "minimum_distance", apart) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("structure", "coordination", "tolerance"),
    # Numbers of bonds; the next shell adds a little, and much in bcc (8 + 6).
    [(COPPER, 12, 0.05), (SILICON, 4, 0.01), (ROCK_SALT, 6, 0.05), (GRAPHITE, 3, 0.01), (MAGNESIUM, 12, 0.1)],
)
def test_effective_coordination(structure, coordination, tolerance):
    assert value(Packing(), "effective_coordination", structure) == pytest.approx(coordination, abs=tolerance)


def test_effective_coordination_of_bcc_lies_between_8_and_14():
    assert value(Packing(), "effective_coordination", IRON) == pytest.approx(11.63, abs=0.01)


def test_packing_fraction():
    # Copper: Slater's radius is 1.35 A, that of touching spheres (packed at 74 %) 1.278 A.
    touching = math.pi / (3 * math.sqrt(2))
    expected = touching * (1.35 / (3.615 / math.sqrt(8))) ** 3
    assert value(Packing(), "packing_fraction", COPPER) == pytest.approx(expected)
    helium = Structure(Lattice.cubic(30), ["He"], [ORIGIN])
    assert value(Packing(), "packing_fraction", helium) == Failure("missing-data", "no atomic radius for He")
    assert value(Packing(), "minimum_distance", helium) == pytest.approx(30)


def test_overlapping_atoms_have_no_coordination():
    twice = Structure(Lattice.cubic(4), ["Fe", "Ni"], [ORIGIN, ORIGIN])
    assert value(Packing(), "effective_coordination", twice).kind == "overlap"
    assert value(Packing(), "minimum_distance", twice) == 0


@pytest.mark.parametrize(
    ("structure", "number", "order", "atoms"),
    [
        (COPPER, 225, 48, 1), (IRON, 229, 48, 1), (SILICON, 227, 48, 2), (ROCK_SALT, 225, 48, 2),
        (MAGNESIUM, 194, 24, 2), (GRAPHITE, 194, 24, 4), (RUTILE, 136, 16, 6), (TRICLINIC, 1, 1, 3),
    ],
)  # fmt: skip
def test_symmetry(structure, number, order, atoms):
    (result,) = CrystalSymmetry().evaluate([structure])
    assert result == {"space_group_number": number, "symmetry_order": order, "cell_size": atoms}


@pytest.mark.parametrize(
    ("structure", "dimensions"),
    [
        (SILICON, 3),
        (ROCK_SALT, 3),
        (RUTILE, 3),
        (COPPER, 3),
        (GRAPHITE, 2),
        (MOLYBDENITE, 2),
        (SELENIUM, 1),
        (NITROGEN, 0),
    ],
    ids=["Si", "NaCl", "TiO2", "Cu", "graphite", "MoS2", "Se", "N2"],
)
def test_dimensionality(structure, dimensions):
    assert value(Dimensionality(), "dimensionality", structure) == dimensions


def test_atoms_far_apart_have_no_dimensionality():
    assert value(Dimensionality(), "dimensionality", Structure(Lattice.cubic(30), ["He"], [ORIGIN])).kind == "no-bonds"


@pytest.mark.parametrize("evaluator", [Packing(), CrystalSymmetry(), Dimensionality()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("structure", [ROCK_SALT, GRAPHITE, RUTILE], ids=lambda s: s.reduced_formula)
def test_does_not_depend_on_how_the_crystal_is_written(evaluator, structure):
    turned = structure.copy()
    turned.apply_operation(SymmOp.from_axis_angle_and_translation([1, 2, 3], 40))
    expected = evaluator.evaluate([structure])[0]
    for other in (structure * (2, 1, 1), structure.get_primitive_structure(), turned):
        assert evaluator.evaluate([other])[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("evaluator", [Packing(), CrystalSymmetry(), Dimensionality()], ids=lambda e: type(e).__name__)
def test_keeps_the_contract(evaluator):
    check_evaluator(evaluator, CRYSTALS)
