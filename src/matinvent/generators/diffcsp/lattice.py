"""Crystal lattices as six log-strain coordinates, few of them free under symmetry.

The conventional cell's metric G (A^2, rows are lattice vectors, G = L L^T) is written as
G = exp(2 S) with a symmetric S expanded in six coordinates k: three off-diagonal elements, two
volume-preserving stretches, and one third of the log-volume. A crystal family leaves only some of
them free (DiffCSP++, Jiao et al. 2024, sec. 4.1); the others stay at fixed values, so that noise
drawn along the free ones never breaks the family's lattice symmetry.
"""

from __future__ import annotations

import math

import numpy as np
import torch

N_COORDS = 6

#: Upper space-group number of triclinic, monoclinic, orthorhombic, tetragonal, hexagonal, cubic.
_FAMILY_LAST = (2, 15, 74, 142, 194, 230)
FAMILIES = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "hexagonal", "cubic")
HEXAGONAL = FAMILIES.index("hexagonal")

#: Free coordinates (xy, xz, yz, a-b stretch, ab-c stretch, volume) of each family.
FREE = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [0, 1, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0, 1],
    ],
    dtype=np.float32,
)

#: S_xy of an ideal hexagonal cell: G = a^2 [[1, -1/2], [-1/2, 1]] has eigenvalues a^2/2 and 3a^2/2.
HEXAGONAL_SHEAR = -math.log(3.0) / 4.0


def family_of(space_group: int) -> int:
    """Index into :data:`FAMILIES` (trigonal crystals live in the hexagonal family)."""
    return int(np.searchsorted(_FAMILY_LAST, space_group))


def lattice_to_coords(conventional: np.ndarray) -> np.ndarray:
    """Log-strain coordinates (6,) of a conventional cell (3, 3), rows in A."""
    eigenvalues, vectors = np.linalg.eigh(conventional @ conventional.T)
    strain = vectors @ np.diag(0.5 * np.log(eigenvalues)) @ vectors.T
    a, b, c = np.diag(strain)
    return np.array([strain[0, 1], strain[0, 2], strain[1, 2], (a - b) / 2, (a + b - 2 * c) / 6, (a + b + c) / 3])


def fixed_coords(family: int) -> np.ndarray:
    """Values (6,) that the non-free coordinates of a family take."""
    fixed = np.zeros(N_COORDS, dtype=np.float32)
    if family == HEXAGONAL:
        fixed[0] = HEXAGONAL_SHEAR
    return fixed


def coords_to_metric(coords: torch.Tensor) -> torch.Tensor:
    """Metric G (B, 3, 3), A^2, of conventional cells from coordinates (B, 6)."""
    xy, xz, yz, stretch_ab, stretch_c, volume = coords.unbind(-1)
    rows = [
        torch.stack([volume + stretch_c + stretch_ab, xy, xz], -1),
        torch.stack([xy, volume + stretch_c - stretch_ab, yz], -1),
        torch.stack([xz, yz, volume - 2 * stretch_c], -1),
    ]
    return torch.matrix_exp(2 * torch.stack(rows, -2))


def primitive_metric(coords: torch.Tensor, centring: torch.Tensor) -> torch.Tensor:
    """Metric (B, 3, 3), A^2, of primitive cells; ``centring`` (B, 3, 3) maps conventional rows to primitive."""
    return centring @ coords_to_metric(coords) @ centring.transpose(-1, -2)


def log_volume(coords: torch.Tensor) -> torch.Tensor:
    """Log of the conventional cell's volume (A^3), (B,): the trace of S, exact where det G underflows."""
    return 3 * coords[..., -1]
