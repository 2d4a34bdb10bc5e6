"""Symmetry templates: which directions of a crystal are free, and how they move its atoms.

A template is a space group with a list of occupied orbits. Every orbit owns up to three free
parameters u (fractional, period 1): coordinates along a primitive integer basis of the directions that
the site symmetry of its anchor atom leaves free. All atoms follow linearly,

    x_i = origin_i + sum_k u_k * direction_ik    (mod 1),

so that any value of u gives a crystal with the template's symmetry. The template-free crystal is
the special case in which every atom is its own orbit with three free parameters, and one
diffusion model serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

import moyopy
import numpy as np

from matinvent.generators.diffcsp.lattice import family_of

#: Space-group index of the template-free crystal.
NO_GROUP = 0
_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class SymmetryTemplate:
    """A space group with occupied orbits, N atoms in the primitive cell and O orbits.

    Attributes:
        space_group: international number 1..230, or :data:`NO_GROUP`.
        orbit: orbit of each atom, (N,), values 0..O-1, ascending.
        origin: atom positions at u = 0, (N, 3), fractional in the primitive cell.
        directions: displacement of each atom per unit of its orbit's parameters, (N, 3, 3): [atom,
            parameter, xyz]; zero rows beyond the orbit's free parameters.
        free: number of free parameters of each orbit, (O,).
        centring: (3, 3), primitive rows = centring @ conventional rows.
    """

    space_group: int
    orbit: np.ndarray
    origin: np.ndarray
    directions: np.ndarray
    free: np.ndarray
    centring: np.ndarray

    @cached_property
    def inverse_directions(self) -> np.ndarray:
        """Change of an orbit's parameters per unit displacement of its atom, (N, 3, 3): [atom, xyz, parameter].

        The least-squares inverse of ``directions``; displacements that break the symmetry map to zero.
        """
        return np.linalg.pinv(self.directions)

    @property
    def n_atoms(self) -> int:
        """Atoms in the primitive cell."""
        return len(self.orbit)

    @property
    def n_orbits(self) -> int:
        """Occupied orbits."""
        return len(self.free)

    @property
    def family(self) -> int:
        """Index into :data:`lattice.FAMILIES`."""
        return family_of(max(self.space_group, 1))

    @property
    def cells(self) -> float:
        """Primitive cells per conventional cell."""
        return 1.0 / abs(float(np.linalg.det(self.centring)))

    def positions(self, parameters: np.ndarray) -> np.ndarray:
        """Atom positions (N, 3) in [0, 1) for orbit parameters (O, 3)."""
        moved = self.origin + np.einsum("nk,nkx->nx", parameters[self.orbit], self.directions)
        return moved % 1.0


def free_template(n_atoms: int) -> SymmetryTemplate:
    """The template-free crystal: each atom moves on its own, all six lattice coordinates are free."""
    return SymmetryTemplate(
        space_group=NO_GROUP,
        orbit=np.arange(n_atoms),
        origin=np.zeros((n_atoms, 3)),
        directions=np.tile(np.eye(3), (n_atoms, 1, 1)),
        free=np.full(n_atoms, 3),
        centring=np.eye(3),
    )


def build_template(space_group: int, anchors: Sequence[np.ndarray], tolerance: float = _TOLERANCE) -> SymmetryTemplate:
    """Expand orbit anchors (primitive fractional coordinates, standard setting) into a template.

    The free parameters of the given anchors are zeroed; only their fixed parts matter. Anchors within
    ``tolerance`` (fractional) of a symmetry element are taken to lie on it.

    Raises:
        ValueError: two orbits coincide or no anchor is given.
    """
    orbits = [expand_orbit(space_group, np.asarray(anchor, dtype=float), tolerance) for anchor in anchors]
    if not orbits:
        raise ValueError("a template needs at least one orbit")
    return SymmetryTemplate(
        space_group=space_group,
        orbit=np.concatenate([np.full(len(orbit.origin), i) for i, orbit in enumerate(orbits)]),
        origin=np.concatenate([orbit.origin for orbit in orbits]),
        directions=np.concatenate([orbit.directions for orbit in orbits]),
        free=np.array([orbit.free for orbit in orbits]),
        centring=centring_matrix(space_group),
    )


@dataclass(frozen=True, eq=False)
class Orbit:
    """One orbit: ``origin`` (M, 3), ``directions`` (M, 3, 3), ``free`` parameters, anchor ``parameters`` (3,)."""

    origin: np.ndarray
    directions: np.ndarray
    free: int
    parameters: np.ndarray


def expand_orbit(space_group: int, anchor: np.ndarray, tolerance: float = _TOLERANCE) -> Orbit:
    """The orbit of one anchor position under a space group's primitive operations.

    The anchor is first moved onto its symmetry element, so that positions known to ``tolerance``
    (fractional) become exact. Its own coordinates are the returned ``parameters``.
    """
    rotations, translations = operations(space_group)
    images = anchor @ rotations.transpose(0, 2, 1) + translations
    shift = images - anchor
    wrapped = shift - np.round(shift)
    stabiliser = np.abs(wrapped).max(1) < tolerance
    exact = anchor + wrapped[stabiliser].mean(0)
    basis = free_basis(rotations[stabiliser])
    parameters = np.zeros(3)
    origin = exact
    if len(basis):
        parameters[: len(basis)] = np.linalg.lstsq(basis.T.astype(float), exact, rcond=None)[0]
        origin = exact - parameters[: len(basis)] @ basis
    padded = np.zeros((3, 3))
    padded[: len(basis)] = basis
    first = _first_of_cosets(images, tolerance)
    return Orbit(
        origin=origin @ rotations[first].transpose(0, 2, 1) + translations[first],
        directions=np.einsum("oxy,ky->okx", rotations[first], padded),
        free=len(basis),
        parameters=parameters % 1.0,
    )


def _first_of_cosets(images: np.ndarray, tolerance: float) -> list[int]:
    """Indices of the operations that give distinct images; the identity's comes first."""
    difference = images[:, None] - images[None]
    same = np.abs(difference - np.round(difference)).max(-1) < tolerance
    earliest = same.argmax(1)
    return [i for i in range(len(images)) if earliest[i] == i]


def free_basis(rotations: np.ndarray) -> np.ndarray:
    """Primitive integer basis (d, 3) of the directions that all site-symmetry rotations leave fixed."""
    projector = rotations.mean(0)
    dimension = round(float(np.trace(projector)))
    if dimension == 3:
        return np.eye(3, dtype=int)
    vectors = _small_integer_vectors()
    fixed = vectors[np.abs(vectors @ projector.T - vectors).max(1) < 1e-6]
    if dimension < 2:
        return fixed[:dimension]
    # Two vectors span every lattice point of their plane iff their cross product is primitive.
    return next(
        np.array([v, w])
        for i, v in enumerate(fixed)
        for w in fixed[i + 1 :]
        if np.gcd.reduce(np.abs(np.cross(v, w))) == 1
    )


@cache
def _small_integer_vectors() -> np.ndarray:
    """Integer vectors (n, 3) up to 3 in each component, short ones first, one of each +/- pair."""
    vectors = [v for v in product(range(-3, 4), repeat=3) if v > (0, 0, 0)]
    return np.array(sorted(vectors, key=lambda v: (sum(x * x for x in v), tuple(-x for x in v))))


@cache
def operations(space_group: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (G, 3, 3) and translations (G, 3) of the standard primitive cell, identity first."""
    group = moyopy.operations_from_number(space_group, primitive=True)
    rotations = np.array(group.rotations, dtype=float)
    translations = np.array(group.translations, dtype=float)
    order = np.argsort([not np.array_equal(r, np.eye(3)) for r in rotations], kind="stable")
    return rotations[order], translations[order]


@cache
def centring_matrix(space_group: int) -> np.ndarray:
    """(3, 3) such that primitive rows = matrix @ conventional rows in the standard setting."""
    entries = (moyopy.HallSymbolEntry(hall) for hall in range(1, 531))
    # The first Hall entry of a group has the centring of its standard setting (origins may differ).
    standard = next(entry for entry in entries if entry.number == space_group)
    return np.linalg.inv(np.array(standard.centering.linear, dtype=float)).T
