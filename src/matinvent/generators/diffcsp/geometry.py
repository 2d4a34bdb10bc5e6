"""What the network knows of the geometry of atom pairs, periodic images included.

A pair of sites in a crystal is many pairs of atoms: every image of the one lies at its own distance from
the other. Distances are therefore expanded in a radial basis and summed over images, as in a pair
distribution function, and the same sum weighted with unit vectors gives the directions along which a
central force can act. Fourier features of the fractional difference (DiffCSP, Jiao et al. 2023) complement it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn

from matinvent.generators.diffcsp.noise import wrap

#: Shells farther out (A) hold more atoms, as the distance squared; they are scaled down accordingly.
_SHELL = 2.5
#: Below this distance (A) two atoms coincide and have no direction.
_TOUCHING = 1e-3


@dataclass(frozen=True)
class PairGeometry:
    """Features of all atom pairs (receiver i, sender j) of a batch.

    ``scalars`` (B, N, N, F) invariant to translations of the lattice and of the origin; ``vectors``
    (B, N, N, R + 3, 3) fractional displacements from i toward j that a force may scale.
    """

    scalars: torch.Tensor
    vectors: torch.Tensor


class PairFeatures(nn.Module):
    """Computes :class:`PairGeometry`; has no weights and passes no gradient.

    Args:
        frequencies: Fourier frequencies 1..n of the fractional differences.
        radial: radial basis functions R.
        max_distance: centre (A) of the outermost one.
    """

    rates: torch.Tensor
    centres: torch.Tensor
    images: torch.Tensor

    def __init__(self, frequencies: int, radial: int, max_distance: float) -> None:
        super().__init__()
        self.spacing = max_distance / radial
        self.n_scalars = 6 * frequencies + radial
        self.n_vectors = radial + 3
        neighbours = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=3)))
        self.register_buffer("rates", 2 * math.pi * torch.arange(1, frequencies + 1).float(), persistent=False)
        self.register_buffer("centres", torch.linspace(self.spacing, max_distance, radial), persistent=False)
        self.register_buffer("images", neighbours, persistent=False)

    @torch.no_grad()
    def forward(self, positions: torch.Tensor, metric: torch.Tensor) -> PairGeometry:
        """Pairs of the atoms at fractional positions (B, N, 3) in cells of metric (B, 3, 3), A^2."""
        n = positions.shape[1]
        first, second = torch.triu_indices(n, n, device=positions.device)
        half = wrap(positions[:, second] - positions[:, first])
        row = torch.arange(len(first), device=positions.device)
        both = torch.zeros(n, n, dtype=torch.long, device=positions.device)
        both[first, second] = both[second, first] = row
        sign = torch.ones(n, n, device=positions.device).triu() * 2 - 1
        angles = half[..., None] * self.rates
        sines, shells = angles.sin(), self._shells(half, metric)
        even = torch.cat([angles.cos().flatten(-2), shells[..., 0]], -1)[:, both]
        odd = torch.cat([sines.flatten(-2), shells[..., 1:].flatten(-2)], -1)[:, both] * sign[..., None]
        sines, directions = torch.tensor_split(odd, [3 * len(self.rates)], -1)
        compass = torch.diag_embed(sines[..., :: len(self.rates)])
        return PairGeometry(
            torch.cat([sines, even], -1),
            torch.cat([directions.reshape(*compass.shape[:-2], -1, 3), compass], -2),
        )

    def _shells(self, difference: torch.Tensor, metric: torch.Tensor) -> torch.Tensor:
        """Radial basis summed over images of pairs (B, P, 3), plain and times unit vectors, (B, P, R, 4)."""
        vectors = difference[..., None, :] + self.images
        distance = (vectors * (vectors @ metric[:, None])).sum(-1).clamp(min=0).sqrt()
        distance = distance.masked_fill(distance < _TOUCHING, torch.inf)
        edge = metric.diagonal(dim1=1, dim2=2).mean(-1).sqrt()[:, None, None, None]
        compass = torch.cat([torch.ones_like(distance)[..., None], vectors * edge / distance[..., None]], -1)
        # The largest array of the whole network: worked on in place.
        basis = (distance[..., None, :] - self.centres[:, None]).div_(self.spacing).square_().neg_().exp_()
        return (basis @ compass) / (1 + (self.centres / _SHELL) ** 2)[:, None]
