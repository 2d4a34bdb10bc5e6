"""A crystal's isometry fingerprint: a short vector that equal crystals share, however they are drawn.

The basis is the average minimum distance (AMD; Widdowson, Mosca, Pulido, Cooper, Kurlin, MATCH
87, 529, 2022): the distance to the k-th nearest neighbour, averaged over the atoms. It does not
depend on the choice of cell, origin, orientation or atom order and changes continuously when atoms
move. AMD is blind to chemistry, so it is joined by distances within the sublattice of each element,
by averages weighted with the rank of the central atom's element (first, second, ... by atomic
number, centred), and by smooth correlations of the ranks of neighbours. These tell apart decorations
of one and the same lattice: Heusler and inverse Heusler, structure and anti-structure.

Distances are in units of the cube root of the volume per atom, so that equal crystals of slightly
different volume match, as in pymatgen's ``StructureMatcher``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matinvent.screening.neighbors import Crystal, Neighbors, find_neighbors

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Neighbour ranks k of the distances to all atoms, and to atoms of the same element.
SHELLS = np.array([1, 2, 3, 4, 6, 8, 12, 18, 24, 32])
LIKE_SHELLS = np.array([1, 2, 4, 6, 8, 12])

#: Widths of the correlation kernels exp(-(d / width)^4), and the distance beyond which they vanish.
WIDTHS = (0.9, 1.2, 1.6)
_REACH = 3.0

#: Brings the correlations onto the scale of the distances (calibrated on pairs of known crystals).
_CORRELATION_WEIGHT = 0.3

#: Length of a fingerprint.
LENGTH = 2 * len(SHELLS) + 2 * len(LIKE_SHELLS) + 2 * len(WIDTHS)


def fingerprint(crystal: Crystal) -> NDArray[np.float64]:
    """The fingerprint of a crystal, shape (38,), dimensionless.

    The crystal must be free of :func:`~matinvent.screening.neighbors.cell_defect`. Compare
    fingerprints of equal reduced compositions only, by their largest difference (Chebyshev).
    """
    scale = float(np.cbrt(crystal.volume / len(crystal)))
    elements = np.unique(crystal.numbers)
    ranks = np.searchsorted(elements, crystal.numbers).astype(np.float64) - (len(elements) - 1) / 2
    to_all = _nearest(crystal, int(SHELLS[-1]))[:, SHELLS - 1] / scale
    to_like = np.zeros((len(crystal), len(LIKE_SHELLS)))
    for element in elements:
        members = crystal.numbers == element
        sublattice = Crystal(crystal.numbers[members], crystal.lattice, crystal.frac[members])
        to_like[members] = _nearest(sublattice, int(LIKE_SHELLS[-1]))[:, LIKE_SHELLS - 1] / scale
    rows = np.hstack([to_all, to_like])
    values: NDArray[np.float64] = np.concatenate(
        [rows.mean(axis=0), ranks @ rows / len(crystal), _correlations(crystal, ranks, scale)]
    )
    return values


def _correlations(crystal: Crystal, ranks: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """How alike the element ranks of neighbours are, at each width: sum of r_i r_j and of r_i^2 r_j."""
    pairs = find_neighbors(crystal, _REACH * scale)
    own, other = ranks[pairs.center], ranks[pairs.other]
    kernels = np.exp(-((pairs.distance[:, None] / scale / np.array(WIDTHS)) ** 4))
    sums = np.stack([own * other, own**2 * other]) @ kernels
    correlations: NDArray[np.float64] = _CORRELATION_WEIGHT * sums.reshape(-1) / len(crystal)
    return correlations


def _nearest(crystal: Crystal, count: int) -> NDArray[np.float64]:
    """Distances (A) from each atom to its ``count`` nearest neighbours, ascending, shape (N, count)."""
    radius = 1.3 * float(np.cbrt(3 * count * crystal.volume / (4 * np.pi * len(crystal))))
    while True:
        pairs = find_neighbors(crystal, radius)
        found = np.bincount(pairs.center, minlength=len(crystal))
        if found.min() >= count:
            return _first(pairs, found, count)
        radius *= 1.3


def _first(pairs: Neighbors, found: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The smallest ``count`` distances of each centre; ``found`` is the number of pairs of each."""
    distances = pairs.distance[np.lexsort((pairs.distance, pairs.center))]
    starts = np.cumsum(found) - found
    nearest: NDArray[np.float64] = distances[starts[:, None] + np.arange(count)]
    return nearest
