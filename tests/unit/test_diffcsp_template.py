"""Templates: symmetry kept by construction, crystals recovered from their free variables."""

from __future__ import annotations

import moyopy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from matinvent.errors import Failure
from matinvent.generators.diffcsp.crystal import collate, decode_structure, encode_structure
from matinvent.generators.diffcsp.lattice import (
    FREE,
    HEXAGONAL_SHEAR,
    coords_to_metric,
    family_of,
    fixed_coords,
    lattice_to_coords,
    log_volume,
    primitive_metric,
)
from matinvent.generators.diffcsp.library import TemplateFilter, TemplateLibrary
from matinvent.generators.diffcsp.template import build_template, centring_matrix, expand_orbit, free_template

CRYSTALS = {
    "rocksalt": Structure.from_spacegroup(225, Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "diamond": Structure.from_spacegroup(227, Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]),
    "rutile": Structure.from_spacegroup(
        136, Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    ),
    "wurtzite": Structure.from_spacegroup(
        186, Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
    ),
    "corundum": Structure.from_spacegroup(
        167, Lattice.hexagonal(4.76, 12.99), ["Al", "O"], [[0, 0, 0.352], [0.306, 0, 0.25]]
    ),
    "perovskite": Structure.from_spacegroup(
        62,
        Lattice.orthorhombic(5.44, 7.64, 5.38),
        ["Ca", "Ti", "O", "O"],
        [[0.036, 0.25, 0.993], [0, 0, 0.5], [0.484, 0.25, 0.071], [0.289, 0.037, 0.711]],
    ),
    "monoclinic": Structure.from_spacegroup(
        14, Lattice.monoclinic(5.15, 5.2, 5.31, 99.2), ["Zr", "O", "O"],
        [[0.275, 0.04, 0.208], [0.07, 0.332, 0.345], [0.45, 0.757, 0.479]],
    ),
}  # fmt: skip


def decode(crystal):
    batch = collate([crystal])
    metric = primitive_metric(batch.lattice.double(), batch.centring.double())[0].numpy()
    return decode_structure(crystal.template, crystal.species, crystal.parameters, metric)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("name", CRYSTALS)
def test_encode_then_decode_gives_the_same_crystal(name, symmetric):
    crystal = encode_structure(CRYSTALS[name], 20, symmetric)
    assert StructureMatcher(ltol=1e-3, stol=1e-3, angle_tol=0.1).fit(decode(crystal), CRYSTALS[name])


@pytest.mark.parametrize("name", CRYSTALS)
def test_encoding_ignores_rotation_permutation_translation_and_supercell(name):
    rng = np.random.default_rng(0)
    changed = CRYSTALS[name].copy()
    changed.make_supercell([2, 1, 1])
    changed.translate_sites(range(len(changed)), rng.random(3))
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    changed = Structure(Lattice(changed.lattice.matrix @ rotation), changed.species, changed.frac_coords)
    changed = Structure.from_sites([changed[i] for i in rng.permutation(len(changed))])
    before, after = encode_structure(CRYSTALS[name], 20), encode_structure(changed, 20)
    assert after.template.space_group == before.template.space_group
    assert after.template.n_orbits == before.template.n_orbits
    np.testing.assert_allclose(after.lattice, before.lattice, atol=1e-4)
    assert sorted(after.species) == sorted(before.species)


@pytest.mark.parametrize("name", CRYSTALS)
def test_any_parameters_keep_the_space_group_operations(name):
    template = encode_structure(CRYSTALS[name], 20).template
    parameters = np.random.default_rng(1).random((template.n_orbits, 3))
    positions = template.positions(parameters)
    group = moyopy.operations_from_number(template.space_group, primitive=True)
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        images = positions @ np.array(rotation).T + translation
        gap = images[:, None] - positions[None]
        distance = np.abs(gap - np.round(gap)).max(-1)
        target = distance.argmin(1)
        assert distance.min(1).max() < 1e-8
        np.testing.assert_array_equal(template.orbit[target], template.orbit)


@pytest.mark.parametrize(
    ("space_group", "anchor", "atoms", "free"),
    [
        (225, [0, 0, 0], 1, 0),
        (225, [0.25, 0.25, 0.25], 2, 0),
        (227, [0.125, 0.125, 0.125], 2, 0),
        (136, [0.3, 0.3, 0.0], 4, 1),
        (62, [0.1, 0.25, 0.2], 4, 2),
        (62, [0.1, 0.03, 0.2], 8, 3),
        (194, [1 / 3, 2 / 3, 0.3], 4, 1),
        (1, [0.1, 0.2, 0.3], 1, 3),
    ],
)
def test_wyckoff_positions_of_the_international_tables(space_group, anchor, atoms, free):
    orbit = expand_orbit(space_group, np.array(anchor))
    assert len(orbit.origin) == atoms
    assert orbit.free == free


@pytest.mark.parametrize("space_group", [5, 38, 70, 146, 166, 216, 220, 229])
def test_centring_reproduces_the_number_of_lattice_points(space_group):
    points = {5: 2, 38: 2, 70: 4, 146: 3, 166: 3, 216: 4, 220: 2, 229: 2}[space_group]
    assert 1 / abs(np.linalg.det(centring_matrix(space_group))) == pytest.approx(points)


@given(st.tuples(*[st.floats(2, 20)] * 3), st.tuples(*[st.floats(60, 120)] * 3))
@settings(max_examples=50, deadline=None)
def test_lattice_coordinates_reproduce_any_metric(lengths, angles):
    lattice = Lattice.from_parameters(*lengths, *angles)
    if not lattice.volume > 0.2 * np.prod(lengths):
        return
    coords = torch.tensor(lattice_to_coords(lattice.matrix))[None]
    np.testing.assert_allclose(coords_to_metric(coords)[0], lattice.matrix @ lattice.matrix.T, rtol=1e-6, atol=1e-6)
    assert log_volume(coords).item() == pytest.approx(np.log(lattice.volume))


@pytest.mark.parametrize(
    ("space_group", "lattice"),
    [
        (225, Lattice.cubic(4.2)),
        (194, Lattice.hexagonal(3.2, 5.2)),
        (136, Lattice.tetragonal(4.6, 3.0)),
        (62, Lattice.orthorhombic(5, 7, 4)),
        (14, Lattice.monoclinic(5, 6, 7, 105)),
    ],
)
def test_fixed_coordinates_of_each_family_hold_for_its_lattices(space_group, lattice):
    family = family_of(space_group)
    coords = lattice_to_coords(lattice.matrix)
    held = FREE[family] == 0
    np.testing.assert_allclose(coords[held], fixed_coords(family)[held], atol=1e-6)


def test_hexagonal_shear_is_that_of_a_120_degree_cell():
    assert lattice_to_coords(Lattice.hexagonal(1, 1).matrix)[0] == pytest.approx(HEXAGONAL_SHEAR)


def test_free_template_lets_every_atom_move():
    template = free_template(3)
    parameters = np.random.default_rng(0).random((3, 3))
    np.testing.assert_allclose(template.positions(parameters), parameters)


@pytest.mark.parametrize(
    ("structure", "kind"),
    [
        (Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(4), ["Cm"], [[0, 0, 0]]), "unknown-element"),
        (Structure(Lattice.cubic(4), ["Fe"], [[np.nan, 0, 0]]), "not-finite"),
        (CRYSTALS["perovskite"], "too-many-atoms"),
    ],
)
def test_what_cannot_be_encoded_is_a_failure_with_its_reason(structure, kind):
    result = encode_structure(structure, 10)
    assert isinstance(result, Failure)
    assert result.kind == kind


def test_library_draws_by_counts_and_keeps_symmetry():
    crystals = [encode_structure(s, 20) for s in CRYSTALS.values()] + [encode_structure(CRYSTALS["rutile"], 20)] * 20
    library = TemplateLibrary.from_crystals(crystals)
    assert len(library) == len(CRYSTALS)
    assert library.counts.sum(1).max() == 21
    drawn = [blueprint.template for blueprint in library.draw(300, torch.Generator().manual_seed(0))]
    share = sum(t.space_group == 136 for t in drawn) / 300
    assert share == pytest.approx(21 / 27, abs=0.1)
    rutile = next(t for t in drawn if t.space_group == 136)
    assert sorted(rutile.free) == [0, 1]
    small = library.draw(50, torch.Generator().manual_seed(0), TemplateFilter(max_atoms=6))
    assert all(blueprint.template.n_atoms <= 6 for blueprint in small)


def test_templates_survive_their_anchors():
    for structure in CRYSTALS.values():
        crystal = encode_structure(structure, 20)
        library = TemplateLibrary.from_crystals([crystal])
        copy = library[0]
        assert copy.n_atoms == crystal.template.n_atoms
        np.testing.assert_array_equal(np.sort(copy.free), np.sort(crystal.template.free))


def test_a_free_position_close_to_a_special_one_keeps_its_orbit():
    # Generic positions are stored for free orbits; one near (1/8, 1/8, 1/8) must not collapse onto it (spinel, 32e).
    spinel = Structure.from_spacegroup(
        227, Lattice.cubic(8.08), ["Mg", "Al", "O"], [[1 / 8, 1 / 8, 1 / 8], [0.5, 0.5, 0.5], [0.263, 0.263, 0.263]]
    )
    library = TemplateLibrary.from_crystals([encode_structure(spinel, 20)])
    arrays = {**library.arrays, "anchors": library.arrays["anchors"].copy()}
    free = int(library[0].free.argmax())
    arrays["anchors"][free] = [0.1234, 0.1234, 0.1234]
    assert library[0].n_atoms == TemplateLibrary(**arrays)[0].n_atoms == 14


def test_a_template_needs_an_orbit():
    with pytest.raises(ValueError, match="at least one orbit"):
        build_template(1, [])
