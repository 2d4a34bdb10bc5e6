"""Minimal coincident areas: known films, pymatgen's own search, invariances, refusals."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.interfaces.substrate_analyzer import SubstrateAnalyzer
from pymatgen.analysis.interfaces.zsl import ZSLGenerator, reduce_vectors
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp
from pymatgen.core.surface import SlabGenerator
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from matinvent.errors import ConfigError, Failure
from matinvent.properties.coincidence import LOW_PLANES, Superlattices, plane_mesh, smallest_coincidence
from matinvent.properties.interface import CoincidentArea
from matinvent.properties.substrates import Cell, load_substrate, substrate_names
from matinvent.testing.evaluators import check_evaluator

ORIGIN, QUARTER, HALF = [0.0] * 3, [0.25] * 3, [0.5] * 3


def crystal(group: str, lattice: Lattice, species: list[str], positions: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(group, lattice, species, positions)


def zinc_blende(a: float, one: str, other: str) -> Structure:
    return crystal("F-43m", Lattice.cubic(a), [one, other], [ORIGIN, QUARTER])


def wurtzite(a: float, c: float, metal: str) -> Structure:
    return crystal("P6_3mc", Lattice.hexagonal(a, c), [metal, "N"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]])


STRONTIUM_TITANATE = crystal("Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [ORIGIN, HALF, [0.5, 0.5, 0]])
CERIA = crystal("Fm-3m", Lattice.cubic(5.411), ["Ce", "O"], [ORIGIN, QUARTER])
IRON = crystal("Im-3m", Lattice.cubic(2.8665), ["Fe"], [ORIGIN])
MAGNESIA = crystal("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [ORIGIN, HALF])
RUTILE = crystal("P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [ORIGIN, [0.305, 0.305, 0]])
CORUNDUM = crystal("R-3c", Lattice.hexagonal(4.759, 12.99), ["Al", "O"], [[0, 0, 0.352], [0.306, 0, 0.25]])
TRICLINIC = Structure(
    Lattice.from_parameters(3.9, 4.7, 5.6, 81, 97, 74), ["Na", "Cl", "O"], [ORIGIN, [0.4, 0.5, 0.6], [0.8, 0.2, 0.3]]
)


def area(film: Structure, *arguments: object, **options: object) -> float | Failure:
    (result,) = CoincidentArea(*arguments, **options).evaluate([film])
    return result if isinstance(result, Failure) else result["mcia"]


@pytest.mark.parametrize(
    ("film", "substrate", "plane", "expected"),
    # Epitaxial pairs whose relation is known; the areas follow from it and the film's lattice parameter.
    [
        # Lattices that match within 0.1 and 0.4 %: the primitive square of the (100) plane, a^2 / 2.
        (zinc_blende(5.6533, "Ga", "As"), "Ge", (1, 0, 0), 5.6533**2 / 2),
        (zinc_blende(5.4505, "Ga", "P"), "Si", (1, 0, 0), 5.4505**2 / 2),
        # Basal plane on basal plane.
        (wurtzite(3.189, 5.186, "Ga"), "AlN", (0, 0, 1), 3.189**2 * math.sqrt(3) / 2),
        (wurtzite(3.112, 4.982, "Al"), "SiC", (0, 0, 1), 3.112**2 * math.sqrt(3) / 2),
        # SrTiO3(100)[110] on Si(100)[100], turned by 45 degrees: McKee et al., Phys. Rev. Lett. 81, 3014 (1998).
        (STRONTIUM_TITANATE, "Si", (1, 0, 0), 3.905**2),
        # Ceria and silicon, 0.4 %: Inoue et al., Appl. Phys. Lett. 56, 1332 (1990).
        (CERIA, "Si", (1, 0, 0), 5.411**2 / 2),
        # Iron, half as wide as GaAs within 1.4 %: Prinz and Krebs, Appl. Phys. Lett. 39, 397 (1981).
        (IRON, "GaAs", (1, 0, 0), 2 * 2.8665**2),
    ],
    ids=["GaAs/Ge", "GaP/Si", "GaN/AlN", "AlN/SiC", "SrTiO3/Si", "CeO2/Si", "Fe/GaAs"],
)
def test_known_films(film, substrate, plane, expected):
    assert area(film, substrate, plane, primitive=True) == pytest.approx(expected, rel=1e-6)
    # On conventional cells the centring does not count: the same area, or a multiple of it.
    multiple = area(film, substrate, plane) / expected
    assert multiple == pytest.approx(round(multiple), rel=1e-6)


def test_the_default_is_silicon_100_on_the_conventional_cell():
    assert area(zinc_blende(5.431, "Ga", "P")) == pytest.approx(5.431**2)
    assert CoincidentArea().params["mesh"] == [29.495761, 0, 29.495761]


@pytest.mark.parametrize("substrate", substrate_names())
def test_a_substrate_fits_itself(substrate):
    cell = load_substrate(substrate)
    for plane in [(1, 0, 0), (0, 0, 1), (1, 1, 1)]:
        for primitive in (False, True):
            mesh = plane_mesh(cell, plane, primitive)
            found = smallest_coincidence(cell, [plane], Superlattices(mesh, 300), 300, primitive)
            assert found == pytest.approx(mesh.area)


def conventional(film: Structure) -> Structure:
    return SpacegroupAnalyzer(film, symprec=0.1).get_conventional_standard_structure()


def their_smallest(film: Structure, substrate: Structure, plane: tuple[int, int, int]) -> float:
    analyzer = SubstrateAnalyzer()
    planes = [index for index in product((1, 0, -1), repeat=3) if index > (0, 0, 0)]
    sets = analyzer.generate_surface_vectors(conventional(film), substrate, planes, [plane])
    return min(match.match_area for ours, theirs, *_ in sets for match in analyzer(ours, theirs))


@pytest.mark.parametrize("film", [MAGNESIA, RUTILE, CORUNDUM, TRICLINIC], ids=lambda film: film.reduced_formula)
@pytest.mark.parametrize(("name", "plane"), [("Si", (1, 0, 0)), ("Al2O3", (0, 0, 1)), ("GaAs", (1, 1, 0))])
def test_equals_an_exhaustive_search_by_pymatgen(film, name, plane):
    substrate = Structure(Lattice(load_substrate(name).lattice), ["Si"], [ORIGIN])
    assert area(film, name, plane) == pytest.approx(their_smallest(film, substrate, plane), rel=1e-9)


@given(st.tuples(*[st.integers(-3, 3)] * 3).filter(any))
@settings(deadline=None, max_examples=30)
def test_lattices_of_planes_are_whole_and_smallest(plane):
    lattice = TRICLINIC.lattice
    mesh = plane_mesh(Cell(lattice.matrix, np.eye(3)), plane, primitive=False)
    reduced = np.array(plane) / math.gcd(*plane)
    # The volume of the cell is the area of the plane's times the distance between planes.
    assert mesh.area * lattice.d_hkl(reduced) == pytest.approx(lattice.volume)


@pytest.mark.parametrize("plane", LOW_PLANES)
def test_lattices_of_low_planes_are_pymatgens(plane):
    film = conventional(CORUNDUM)
    slab = SlabGenerator(film, plane, 20, 15, primitive=False).get_slab()
    a, b = reduce_vectors(*slab.oriented_unit_cell.lattice.matrix[:2])
    mesh = plane_mesh(Cell(film.lattice.matrix, np.eye(3)), plane, primitive=False)
    assert mesh.gram == pytest.approx((a @ a, a @ b, b @ b), abs=1e-9)


def test_centred_planes():
    silicon = load_substrate("Si")
    assert plane_mesh(silicon, (1, 0, 0), primitive=True).area == pytest.approx(5.431**2 / 2)
    # Both vectors of the (111) plane are translations of the conventional cell, twice as long as need be.
    assert plane_mesh(silicon, (1, 1, 1), primitive=False).area == pytest.approx(5.431**2 * math.sqrt(3))
    assert plane_mesh(silicon, (1, 1, 1), primitive=True).area == pytest.approx(5.431**2 * math.sqrt(3) / 4)
    sapphire = load_substrate("Al2O3")
    assert plane_mesh(sapphire, (0, 0, 1), primitive=True).area == pytest.approx(4.7593**2 * math.sqrt(3) / 2)


def test_superlattices_are_as_many_as_theory_says():
    mesh = plane_mesh(load_substrate("Si"), (1, 0, 0), primitive=False)
    shapes = Superlattices(mesh, 400).shapes
    divisors = [sum(d for d in range(1, n + 1) if n % d == 0) for n in range(1, len(shapes) + 1)]
    assert [len(shape) for shape in shapes] == divisors
    for n, shape in enumerate(shapes, 1):
        assert shape[:, 0] * shape[:, 1] * np.sin(shape[:, 2]) == pytest.approx(np.full(len(shape), n * mesh.area))
        assert (shape[:, 2] >= math.radians(60) - 1e-9).all()
        assert (shape[:, 2] <= math.radians(90) + 1e-9).all()
        assert (shape[:, 0] <= shape[:, 1] + 1e-9).all()


def test_the_search_is_pymatgens_on_any_pair_of_planes():
    film, substrate = np.array([[3.1, 0, 0], [0.7, 4.4, 0]]), np.array([[5.431, 0, 0], [0, 5.431, 0]])
    theirs = min(match.match_area for match in ZSLGenerator()(film, substrate))
    cells = [Cell(np.vstack([vectors, [0, 0, 9.0]]), np.eye(3)) for vectors in (film, substrate)]
    superlattices = Superlattices(plane_mesh(cells[1], (0, 0, 1), primitive=False), 400)
    ours = smallest_coincidence(cells[0], [(0, 0, 1)], superlattices, 400, primitive=False)
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("film", [MAGNESIA, RUTILE, CORUNDUM, TRICLINIC], ids=lambda film: film.reduced_formula)
def test_does_not_depend_on_how_the_film_is_written(film):
    expected = area(film)
    turned = film.copy()
    turned.apply_operation(SymmOp.from_axis_angle_and_translation([1, 2, 3], 40))
    sheared = film.copy()
    sheared.make_supercell([[1, 1, 0], [0, 1, 0], [0, 1, 1]])
    for other in (film * (2, 1, 1), film.get_primitive_structure(), turned, sheared):
        assert area(other) == pytest.approx(expected, rel=1e-4)


def test_one_plane_of_the_film_can_be_asked_for():
    assert area(RUTILE, film_plane=(0, 0, 1)) >= area(RUTILE)
    assert min(area(RUTILE, film_plane=plane) for plane in LOW_PLANES if area_or_none(plane)) == area(RUTILE)


def area_or_none(plane: tuple[int, int, int]) -> bool:
    return not isinstance(area(RUTILE, film_plane=plane), Failure)


def test_no_match_is_a_failure_and_never_a_number():
    wide = Structure(Lattice.cubic(30), ["He"], [ORIGIN])
    assert area(wide) == Failure("no-match", "no common cell with Si(100) below 400 A^2")
    assert area(MAGNESIA, max_area=20.0).kind == "no-match"


def test_crystals_that_are_none_are_failures():
    disordered = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [ORIGIN])
    flat = Structure(Lattice(np.zeros((3, 3))), ["Fe"], [ORIGIN])
    for film in (disordered, flat):
        assert isinstance(area(film), Failure)


def test_a_collapsed_cell_costs_no_memory():
    assert isinstance(area(Structure(Lattice.cubic(0.01), ["Fe"], [ORIGIN])), Failure)


def test_a_substrate_from_a_file(tmp_path):
    path = tmp_path / "substrate.cif"
    crystal("Fd-3m", Lattice.cubic(5.431), ["Si"], [ORIGIN]).get_primitive_structure().to(filename=str(path))
    own, shipped = CoincidentArea(str(path), primitive=True), CoincidentArea("Si", primitive=True)
    assert own.params["mesh"] == pytest.approx(shipped.params["mesh"], rel=1e-4)
    assert own.evaluate([CERIA])[0]["mcia"] == pytest.approx(5.411**2 / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"substrate": "GaAS"}, "did you mean 'GaAs"),
        ({"substrate": "nothing.cif"}, "neither known nor a file"),
        ({"plane": (0, 0, 0)}, "Miller indices"),
        ({"plane": "100"}, "Miller indices"),
        ({"plane": (1, 0)}, "Miller indices"),
        ({"plane": (1, 0.5, 0)}, "Miller indices"),
        ({"film_plane": (0, 0, 0)}, "Miller indices"),
        ({"max_area": 0.0}, "max_area"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError, match=message):
        CoincidentArea(**options)


def test_files_that_are_no_substrate(tmp_path):
    (tmp_path / "text.cif").write_text("no crystal", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        CoincidentArea(str(tmp_path / "text.cif"))
    mixed = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [ORIGIN])
    mixed.to(filename=str(tmp_path / "mixed.cif"))
    with pytest.raises(ConfigError, match="cannot be used"):
        CoincidentArea(str(tmp_path / "mixed.cif"))


def test_keeps_the_contract():
    check_evaluator(CoincidentArea(), [MAGNESIA, RUTILE, CORUNDUM, TRICLINIC])
