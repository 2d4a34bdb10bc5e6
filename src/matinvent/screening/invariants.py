"""Isometry invariants of a crystal: numbers that do not depend on how it is drawn.

Two families, both independent of cell, origin, orientation and atom order, and continuous when atoms move:

- distances to the k-th nearest neighbours, averaged over the atoms, and their spread (average minimum distances;
  Widdowson, Mosca, Pulido, Cooper, Kurlin, MATCH 87, 529, 2022);
- pair distributions: how many neighbours at which distance, and of which element.

Chemistry enters through the rank of an element in the crystal (first, second, ... by atomic number, centred), so that
the invariants of different decorations of one lattice differ. Distances are in units of the cube root of the volume
per atom: crystals that differ by a uniform expansion are the same, as for pymatgen's ``StructureMatcher``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matinvent.screening.neighbors import Crystal, find_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float32]
    Integers = NDArray[np.int64]

#: Neighbours farther than this are not seen (about 137 are nearer).
REACH = 3.2

#: Neighbour ranks k of the nearest-neighbour distances.
SHELLS = np.array([1, 2, 3, 4, 6, 8, 12, 18, 24, 32])

#: Centres and width of the pair distributions, and the distance over which they fade out before the reach.
_CENTRES = np.arange(0.7, 3.01, 0.15, dtype=np.float32)
_WIDTH = np.float32(0.18)
_FADE = np.float32(0.4)

#: Keeps the distances of different atoms apart in one sorted list.
_APART = 2 * REACH

#: Closer pairs are taken for this far apart, so that coincident atoms leave the invariants finite.
_CLOSEST = np.float32(0.05)

#: Number of invariants.
COUNT = 3 * len(SHELLS) + 6 * len(_CENTRES)


def invariants(crystal: Crystal) -> NDArray[np.float32]:
    """The invariants of a crystal, shape (126,), dimensionless.

    The crystal must be free of :func:`~matinvent.screening.neighbors.cell_defect`. Only those of equal reduced
    compositions may be compared.
    """
    scale = float(np.cbrt(crystal.volume / len(crystal)))
    pairs = find_pairs(crystal, REACH * scale)
    distance = np.maximum((pairs.distance / scale).astype(np.float32), _CLOSEST)
    rank = _ranks(crystal.numbers)
    nearest = _nearest(pairs.center, distance, len(crystal))
    weight = np.full(len(crystal), 1 / len(crystal), dtype=np.float32)
    mean = weight @ nearest
    return np.concatenate(
        [
            mean,
            np.sqrt(np.maximum(weight @ (nearest - mean) ** 2, 0)),
            (weight * rank) @ nearest,
            _distributions(distance, rank[pairs.center], rank[pairs.other]) / np.float32(len(crystal)),
        ]
    )


def _ranks(numbers: Integers) -> Reals:
    """The centred rank of each atom's element among those of the crystal: -1, 0 and 1 for three elements."""
    order = np.cumsum(np.bincount(numbers) > 0)
    ranks: Reals = (order[numbers] - (order[-1] + 1) / 2).astype(np.float32)
    return ranks


def _nearest(center: Integers, distance: Reals, atoms: int) -> Reals:
    """Distances from each atom to its k-th neighbours, shape (N, 10); the reach where it sees fewer."""
    ordered = np.sort(_APART * center + distance)  # by centre, then distance: sorting one number is fastest
    seen = np.bincount(center, minlength=atoms)
    starts = np.cumsum(seen) - seen
    position = np.minimum(starts[:, None] + SHELLS - 1, max(0, len(ordered) - 1))
    found = ordered[position] - _APART * np.arange(atoms)[:, None] if len(ordered) else np.zeros(position.shape)
    return np.where(seen[:, None] >= SHELLS, found, REACH).astype(np.float32)


def _distributions(distance: Reals, own: Reals, other: Reals) -> Reals:
    """Pair distributions, plain and weighted with the ranks at both ends, shape (96,)."""
    fade = np.clip((np.float32(REACH) - distance) / _FADE, 0, 1)
    height = fade * fade * (3 - 2 * fade) / (distance * distance)
    offset = (distance[:, None] - _CENTRES) / _WIDTH
    peaks = np.exp(np.float32(-0.5) * offset * offset)
    product = own * other
    weights = np.stack([np.ones_like(own), product, own * product, own, product * product, own == other])
    return ((weights * height) @ peaks).reshape(-1)
