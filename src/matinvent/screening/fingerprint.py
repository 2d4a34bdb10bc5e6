"""A crystal's fingerprint: 32 numbers whose distance tells whether two crystals are the same.

A small network maps the isometry invariants of a crystal to a point; crystals of one reduced composition are the same
when their points lie closer than :data:`THRESHOLD`. The network was trained so that this agrees with pymatgen's
``StructureMatcher`` on pairs of polymorphs, of rattled, of substituted and of relaxed crystals
(``benchmarks/train_fingerprint.py``); how well it does is measured by ``benchmarks/novelty.py`` and told in the card of
the shipped reference set. A continuous function of invariants, the fingerprint is itself invariant and continuous.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from matinvent.screening.invariants import invariants
from matinvent.screening.neighbors import Crystal

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Length of a fingerprint.
LENGTH = 32

#: Crystals of one composition are the same when their fingerprints are closer than this (Euclidean distance).
THRESHOLD = 1.0

_WEIGHTS = "fingerprint.npz"


def fingerprint(crystal: Crystal) -> NDArray[np.float32]:
    """The fingerprint of a crystal, shape (32,), dimensionless.

    The crystal must be free of :func:`~matinvent.screening.neighbors.cell_defect`.
    """
    return embed(invariants(crystal))


def embed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fingerprints of invariants, shape (..., 126) -> (..., 32)."""
    from scipy.special import expit

    (first, shift), *others = _layers()
    hidden = values @ first + shift
    for weight, bias in others:
        hidden = (hidden * expit(hidden)) @ weight + bias  # SiLU between the layers
    return hidden


@cache
def _layers() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weights and biases; the first layer also standardises the invariants."""
    source = resources.files("matinvent.data").joinpath(_WEIGHTS)
    with source.open("rb") as file, np.load(file, allow_pickle=False) as data:
        count = sum(name.startswith("weight") for name in data)
        return [(data[f"weight{i}"], data[f"bias{i}"]) for i in range(count)]
