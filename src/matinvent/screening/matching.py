"""Which crystals are the same: within a batch (unique) and against known ones (novel)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.fingerprint import fingerprint
from matinvent.screening.neighbors import cell_defect
from matinvent.screening.relaxation import read_crystal

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

#: Crystals of one composition are the same when their fingerprints differ by less than this. Calibrated
#: against pymatgen's StructureMatcher, see the card of the shipped reference set.
THRESHOLD = 0.06


@dataclass(frozen=True, slots=True)
class Identity:
    """What a crystal is recognised by.

    Attributes:
        composition: reduced formula as pymatgen writes it.
        fingerprint: see :func:`matinvent.screening.fingerprint.fingerprint`, shape (38,).
    """

    composition: str
    fingerprint: NDArray[np.float64]


class Catalogue:
    """Fingerprints of labelled crystals, searched by reduced composition."""

    def __init__(self) -> None:
        self._rows: dict[str, list[NDArray[np.float64]]] = {}
        self._labels: dict[str, list[str]] = {}

    def add(self, identity: Identity, label: str) -> None:
        """Enter one crystal under a name."""
        self._rows.setdefault(identity.composition, []).append(identity.fingerprint)
        self._labels.setdefault(identity.composition, []).append(label)

    def find(self, identity: Identity) -> str | None:
        """The name of the closest crystal entered that is the same, or None."""
        rows = self._rows.get(identity.composition)
        position = None if rows is None else closest(np.array(rows), identity.fingerprint)
        return None if position is None else self._labels[identity.composition][position]


def identify(structure: Structure) -> Identity | Failure:
    """What a crystal is recognised by, or why it cannot be recognised."""
    crystal = read_crystal(structure)
    if isinstance(crystal, Failure):
        return crystal
    defect = cell_defect(crystal)
    if defect is not None:
        return defect
    return Identity(structure.composition.reduced_formula, fingerprint(crystal))


def closest(rows: NDArray[np.float64], values: NDArray[np.float64], threshold: float = THRESHOLD) -> int | None:
    """The row, of shape (M, 38), nearest to a fingerprint, if it is within the threshold."""
    distances = np.abs(rows - values).max(axis=1)
    position = int(distances.argmin())
    return position if distances[position] < threshold else None


def group_unique(structures: Sequence[Structure]) -> list[int]:
    """For each crystal the position of the first one that is the same; its own position if it is new.

    A crystal that cannot be recognised (see :func:`identify`) equals nothing but itself.
    """
    seen = Catalogue()
    groups = []
    for position, structure in enumerate(structures):
        identity = identify(structure)
        found = None if isinstance(identity, Failure) else seen.find(identity)
        if found is None and not isinstance(identity, Failure):
            seen.add(identity, str(position))
        groups.append(position if found is None else int(found))
    return groups
