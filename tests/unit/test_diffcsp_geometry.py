"""Pair features: a property of the crystal, not of the cell it is written in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from matinvent.generators.diffcsp.geometry import PairFeatures

#: Up to here (A) the 27 images are all there are, in the cells of these tests.
FEATURES = PairFeatures(frequencies=4, radial=6, max_distance=3.0)
SHELLS = slice(6 * 4, 6 * 4 + 5)


def pairs(structure):
    positions = torch.tensor(structure.frac_coords, dtype=torch.float32)[None]
    metric = torch.tensor(structure.lattice.metric_tensor, dtype=torch.float32)[None]
    return FEATURES(positions, metric)


def shells(structure):
    """Distances around each atom, all senders together, (N, R)."""
    return pairs(structure).scalars[0, :, :, SHELLS].sum(1)


ROCKSALT = Structure(Lattice.from_parameters(3.9, 3.9, 3.9, 60, 60, 60), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_shells_do_not_depend_on_the_choice_of_the_lattice_basis():
    matrix = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    other = Structure(Lattice(matrix @ ROCKSALT.lattice.matrix), ROCKSALT.species, ROCKSALT.cart_coords,
                      coords_are_cartesian=True)  # fmt: skip
    torch.testing.assert_close(shells(other), shells(ROCKSALT), atol=2e-3, rtol=2e-3)


def test_shells_see_every_neighbour_of_the_primitive_cell():
    # Six Cl at a / 2 around each Na, where the minimum image alone would count one.
    nearest = 3.9 / np.sqrt(2)
    features = PairFeatures(1, 8, 4.0)
    centre = int((features.centres - nearest).abs().argmin())
    positions = torch.tensor(ROCKSALT.frac_coords, dtype=torch.float32)[None]
    metric = torch.tensor(ROCKSALT.lattice.metric_tensor, dtype=torch.float32)[None]
    found = features(positions, metric).scalars[0, 0, 1, 6 + centre]
    one = torch.exp(-(((features.centres[centre] - nearest) / 0.5) ** 2)) / (1 + (features.centres[centre] / 2.5) ** 2)
    assert found == pytest.approx(6 * float(one), rel=0.02)


def test_shells_ignore_translations_and_permute_with_the_atoms():
    moved = ROCKSALT.copy()
    moved.translate_sites([0, 1], [0.13, 0.71, 0.37])
    torch.testing.assert_close(shells(moved), shells(ROCKSALT), atol=1e-4, rtol=1e-4)
    swapped = Structure.from_sites([ROCKSALT[1], ROCKSALT[0]])
    torch.testing.assert_close(shells(swapped), shells(ROCKSALT).flip(0), atol=1e-4, rtol=1e-4)


def test_directions_point_the_other_way_seen_from_the_other_atom():
    crystal = Structure(Lattice.orthorhombic(4, 5, 6), ["Na", "Cl"], [[0, 0, 0], [0.3, 0.4, 0.1]])
    vectors = pairs(crystal).vectors[0]
    torch.testing.assert_close(vectors[0, 1], -vectors[1, 0], atol=1e-5, rtol=1e-5)


def test_at_a_centre_of_inversion_the_directions_cancel():
    assert pairs(ROCKSALT).vectors[0, :, :, :6].abs().max() < 1e-3


def test_coinciding_atoms_give_finite_features():
    crystal = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0]])
    found = pairs(crystal)
    assert torch.isfinite(found.scalars).all()
    assert torch.isfinite(found.vectors).all()
