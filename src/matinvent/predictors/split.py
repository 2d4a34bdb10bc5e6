"""Which crystals train, choose and test: decided by the formula alone, the same for every property.

A formula's place follows from a hash of it. So crystals of one composition stay together, no test formula of one
property is a training formula of another, and adding rows to a table moves none of the others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: One formula of so many is for the test.
TEST_ONE_IN = 10


def formula_key(numbers: NDArray[np.int64]) -> str:
    """What stands for the reduced formula of atoms with these atomic numbers: ``8:3 22:1``."""
    present, counts = np.unique(numbers, return_counts=True)
    counts //= np.gcd.reduce(counts)
    return " ".join(f"{z}:{n}" for z, n in zip(present.tolist(), counts.tolist(), strict=True))


def is_test(keys: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each formula is one that no training and no choice may see, shape (N,)."""
    return np.array([_hash(key) % TEST_ONE_IN == 0 for key in keys], dtype=bool)


def fold_of(keys: Sequence[str], folds: int) -> NDArray[np.int64]:
    """The fold of each formula, 0..folds-1, shape (N,)."""
    return np.array([_hash(key) // TEST_ONE_IN % folds for key in keys], dtype=np.int64)


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
