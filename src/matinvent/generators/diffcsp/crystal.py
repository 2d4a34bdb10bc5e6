"""Crystals as the diffusion model sees them: a template and the values of its free variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import moyopy
import numpy as np
import torch
from pymatgen.core import Composition, Element, Lattice, Structure

from matinvent.errors import Failure
from matinvent.generators.diffcsp.lattice import FREE, N_COORDS, fixed_coords, lattice_to_coords
from matinvent.generators.diffcsp.template import SymmetryTemplate, build_template, expand_orbit, free_template

#: Largest atomic number the model knows (Pu); element index = Z - 1.
MAX_Z = 94
#: Symmetry tolerance (A) for crystals that are encoded.
SYMPREC = 0.05


@dataclass(frozen=True, eq=False)
class Crystal:
    """A template with values for its free variables.

    Attributes:
        template: the symmetry template, N atoms in O orbits.
        species: atomic number of each orbit, (O,).
        parameters: free orbit parameters in [0, 1), (O, 3); unused ones are 0.
        lattice: log-strain coordinates of the conventional cell, (6,).
        stability: class of the energy above hull, 0 = unknown (see the prior's card).
        entry: index of the template in the model's library, -1 = not looked up or not there.
    """

    template: SymmetryTemplate
    species: np.ndarray
    parameters: np.ndarray
    lattice: np.ndarray
    stability: int = 0
    entry: int = -1

    @property
    def n_elements(self) -> int:
        """Distinct elements."""
        return len(set(self.species.tolist()))

    @property
    def composition(self) -> Composition:
        """Elements of the primitive cell."""
        atoms = np.bincount(self.template.orbit, minlength=self.template.n_orbits)
        amounts: dict[Element, int] = {}
        for number, count in zip(self.species.tolist(), atoms.tolist(), strict=True):
            element = Element.from_Z(number)
            amounts[element] = amounts.get(element, 0) + count
        return Composition(amounts)


def encode_structure(structure: Structure, max_atoms: int, symmetric: bool = True) -> Crystal | Failure:
    """Describe any ordered crystal by its primitive standard cell and symmetry template.

    Args:
        structure: the crystal; any cell and setting.
        max_atoms: atoms that the primitive cell may have.
        symmetric: find the symmetry template; otherwise use the template-free one.
    """
    problem = _unusable(structure)
    if problem:
        return problem
    cell = moyopy.Cell(
        structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), list(structure.atomic_numbers)
    )
    try:
        symmetry = moyopy.MoyoDataset(cell, symprec=SYMPREC)
    except ValueError as error:  # what moyopy raises for degenerate or overlapping cells
        return Failure("symmetry", f"no symmetry found: {error}")
    numbers = np.array(symmetry.prim_std_cell.numbers)
    if len(numbers) > max_atoms:
        return Failure("too-many-atoms", f"primitive cell has {len(numbers)} atoms, the model takes {max_atoms}")
    positions = np.array(symmetry.prim_std_cell.positions)
    if not symmetric:
        lattice = lattice_to_coords(np.array(symmetry.prim_std_cell.basis))
        return Crystal(free_template(len(numbers)), numbers, positions % 1.0, lattice)
    return _symmetric_crystal(symmetry.number, numbers, positions, np.array(symmetry.std_cell.basis))


def _unusable(structure: Structure) -> Failure | None:
    """Why a structure cannot be encoded at all, or None."""
    if not structure.is_ordered:
        return Failure("disordered", "partially occupied sites cannot be encoded")
    unknown = sorted({e.symbol for e in structure.elements if e.Z > MAX_Z})
    if unknown:
        return Failure("unknown-element", f"the model does not know {', '.join(unknown)}")
    if not (np.isfinite(structure.frac_coords).all() and structure.volume > 1e-3):
        return Failure("not-finite", "coordinates are not finite or the cell has no volume")
    return None


def _symmetric_crystal(
    space_group: int, numbers: np.ndarray, positions: np.ndarray, conventional: np.ndarray
) -> Crystal | Failure:
    """Group the atoms of a standardised primitive cell into orbits."""
    anchors, parameters, species = [], [], []
    waiting = np.ones(len(numbers), dtype=bool)
    while waiting.any():
        first = int(waiting.argmax())
        orbit = expand_orbit(space_group, positions[first])
        placed = orbit.origin + np.einsum("k,nkx->nx", orbit.parameters, orbit.directions)
        gap = placed[:, None] - positions[None]
        distance = np.abs(gap - np.round(gap)).max(-1)
        distance[:, ~waiting | (numbers != numbers[first])] = np.inf
        members = distance.argmin(1)
        if len(set(members)) < len(members) or distance.min(1).max() > 0.05:
            return Failure("symmetry", f"atoms do not form whole orbits of space group {space_group}")
        waiting[members] = False
        anchors.append(positions[first])
        parameters.append(orbit.parameters)
        species.append(numbers[first])
    template = build_template(space_group, anchors)
    return Crystal(template, np.array(species), np.array(parameters), lattice_to_coords(conventional))


def decode_structure(
    template: SymmetryTemplate, species: np.ndarray, parameters: np.ndarray, metric: np.ndarray
) -> Structure | Failure:
    """Build the pymatgen structure (primitive cell) from a template's values and metric (3, 3), A^2."""
    metric = np.asarray(metric, dtype=float)
    if not (np.isfinite(metric).all() and np.isfinite(parameters).all()):
        return Failure("not-finite", "the sampler produced non-finite numbers")
    try:
        matrix = np.linalg.cholesky(metric)
    except np.linalg.LinAlgError:
        return Failure("degenerate-cell", "the sampled cell has no volume")
    symbols = [Element.from_Z(int(z)) for z in species[template.orbit]]
    return Structure(Lattice(matrix), symbols, template.positions(np.asarray(parameters, dtype=float)))


@dataclass(frozen=True, eq=False)
class CrystalBatch:
    """B crystals padded to N atoms and O orbits.

    Attributes:
        species: element index Z - 1 of each orbit, (B, O); 0 in padding.
        parameters: orbit parameters, (B, O, 3).
        lattice: log-strain coordinates, (B, 6).
        stability: energy-above-hull class, (B,).
        n_elements: distinct elements of each crystal, (B,).
        entry: index of each template in the library or -1, (B,).
        space_group: (B,), 0 for template-free crystals.
        family: crystal family, (B,).
        orbit: orbit of each atom, (B, N).
        origin: (B, N, 3).
        directions: (B, N, 3, 3).
        inverse_directions: orbit parameters per unit displacement, (B, N, 3, 3): [atom, xyz, parameter].
        centring: (B, 3, 3).
        cells: primitive cells per conventional cell, (B,).
        lattice_free: 1 where a lattice coordinate is free, (B, 6).
        lattice_fixed: values of the others, (B, 6).
        orbit_free: 1 where an orbit parameter is free, (B, O, 3).
        atom_mask: 1 for real atoms, (B, N).
        orbit_mask: 1 for real orbits, (B, O).
    """

    species: torch.Tensor
    parameters: torch.Tensor
    lattice: torch.Tensor
    stability: torch.Tensor
    n_elements: torch.Tensor
    entry: torch.Tensor
    space_group: torch.Tensor
    family: torch.Tensor
    orbit: torch.Tensor
    origin: torch.Tensor
    directions: torch.Tensor
    inverse_directions: torch.Tensor
    centring: torch.Tensor
    cells: torch.Tensor
    lattice_free: torch.Tensor
    lattice_fixed: torch.Tensor
    orbit_free: torch.Tensor
    atom_mask: torch.Tensor
    orbit_mask: torch.Tensor

    def __len__(self) -> int:
        return len(self.space_group)

    @property
    def n_atoms(self) -> torch.Tensor:
        """Atoms of each primitive cell, (B,)."""
        return self.atom_mask.sum(1)

    def to(self, device: torch.device) -> CrystalBatch:
        """The batch on another device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def atoms_from_orbits(self, values: torch.Tensor) -> torch.Tensor:
        """Spread orbit values (B, O, F) to their atoms, (B, N, F)."""
        return torch.gather(values, 1, self.orbit[..., None].expand(-1, -1, values.shape[-1]))

    @property
    def orbit_sizes(self) -> torch.Tensor:
        """Atoms of each orbit, (B, O)."""
        return torch.zeros_like(self.orbit_mask).scatter_add(1, self.orbit, self.atom_mask)

    def orbit_mean(self, values: torch.Tensor) -> torch.Tensor:
        """Average atom values (B, N, F) over each orbit, (B, O, F)."""
        weight = self.atom_mask[..., None]
        shape = (len(self), self.orbit_mask.shape[1])
        index = self.orbit[..., None]
        total = values.new_zeros(*shape, values.shape[-1])
        total = total.scatter_add(1, index.expand_as(values), values * weight)
        count = values.new_zeros(*shape, 1).scatter_add(1, index, weight)
        return total / count.clamp(min=1)

    def positions(self, parameters: torch.Tensor) -> torch.Tensor:
        """Fractional atom positions (B, N, 3), not wrapped, for orbit parameters (B, O, 3)."""
        moved = self.atoms_from_orbits(parameters)
        return self.origin + (moved[..., None] * self.directions).sum(2)


def collate(crystals: Sequence[Crystal]) -> CrystalBatch:
    """Pad crystals into one batch (CPU, float32)."""
    size = len(crystals)
    n = max(c.template.n_atoms for c in crystals)
    o = max(c.template.n_orbits for c in crystals)
    f32 = np.float32
    arrays: dict[str, np.ndarray] = {
        "species": np.zeros((size, o), np.int64),
        "parameters": np.zeros((size, o, 3), f32),
        "lattice": np.zeros((size, N_COORDS), f32),
        "stability": np.array([c.stability for c in crystals], np.int64),
        "n_elements": np.array([c.n_elements for c in crystals], np.int64),
        "entry": np.array([c.entry for c in crystals], np.int64),
        "space_group": np.array([c.template.space_group for c in crystals], np.int64),
        "family": np.array([c.template.family for c in crystals], np.int64),
        "orbit": np.zeros((size, n), np.int64),
        "origin": np.zeros((size, n, 3), f32),
        "directions": np.zeros((size, n, 3, 3), f32),
        "inverse_directions": np.zeros((size, n, 3, 3), f32),
        "centring": np.stack([c.template.centring for c in crystals]).astype(f32),
        "cells": np.array([c.template.cells for c in crystals], f32),
        "lattice_free": np.stack([FREE[c.template.family] for c in crystals]),
        "lattice_fixed": np.stack([fixed_coords(c.template.family) for c in crystals]),
        "orbit_free": np.zeros((size, o, 3), f32),
        "atom_mask": np.zeros((size, n), f32),
        "orbit_mask": np.zeros((size, o), f32),
    }
    for row, crystal in enumerate(crystals):
        template = crystal.template
        atoms, orbits = template.n_atoms, template.n_orbits
        arrays["species"][row, :orbits] = crystal.species - 1
        arrays["parameters"][row, :orbits] = crystal.parameters
        arrays["lattice"][row] = crystal.lattice
        arrays["orbit"][row, :atoms] = template.orbit
        arrays["origin"][row, :atoms] = template.origin
        arrays["directions"][row, :atoms] = template.directions
        arrays["inverse_directions"][row, :atoms] = template.inverse_directions
        arrays["orbit_free"][row, :orbits] = np.arange(3) < template.free[:, None]
        arrays["atom_mask"][row, :atoms] = 1
        arrays["orbit_mask"][row, :orbits] = 1
    return CrystalBatch(**{name: torch.from_numpy(array) for name, array in arrays.items()})
