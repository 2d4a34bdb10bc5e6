"""The formulas a prior was trained on, so that sampling can prefer what it has not seen.

Only 32-bit hashes are kept: enough to answer "is this formula among them?" (wrong once in some 50,000 for a
Materials-Project-sized set), a quarter of a megabyte on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Composition

    from matinvent.generators.diffcsp.crystal import Crystal


class SeenFormulas:
    """A set of reduced formulas.

    Args:
        hashes: sorted, distinct hashes, int32.
    """

    def __init__(self, hashes: np.ndarray) -> None:
        self.hashes = hashes

    @classmethod
    def of(cls, crystals: Iterable[Crystal]) -> SeenFormulas:
        """The formulas of a training set."""
        return cls(np.unique(np.array([_hash(crystal.composition) for crystal in crystals], dtype=np.int32)))

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, composition: Composition) -> bool:
        wanted = _hash(composition)
        place = int(np.searchsorted(self.hashes, wanted))
        return place < len(self.hashes) and int(self.hashes[place]) == wanted


def _hash(composition: Composition) -> int:
    digest = hashlib.blake2b(composition.reduced_formula.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little", signed=True)
