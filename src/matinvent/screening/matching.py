"""Which crystals are the same: within a sample (unique), in a whole campaign, and against known ones (novel).

Crystals of one reduced composition are compared by their fingerprints, which takes microseconds. Two options make the
comparison stricter or more lenient: pymatgen's ``StructureMatcher`` can be asked about the few that come close, and
crystals that differ only in how similar elements share their sites can count as one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.fingerprint import THRESHOLD, fingerprint
from matinvent.screening.neighbors import Crystal, cell_defect
from matinvent.screening.relaxation import read_crystal
from matinvent.screening.substitution import merge_similar

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

    from matinvent.config_screening import ScreeningConfig

#: ``StructureMatcher`` is asked about crystals whose fingerprints are closer; beyond, it hardly ever says yes.
ASKED = 3.0


class Identity:
    """What a crystal is recognised by.

    Args:
        composition: reduced formula as pymatgen writes it.
        crystal: the crystal, with the labels by which its sites are told apart.
    """

    def __init__(self, composition: str, crystal: Crystal) -> None:
        self.composition = composition
        self.crystal = crystal

    @cached_property
    def fingerprint(self) -> NDArray[np.float32]:
        """See :func:`matinvent.screening.fingerprint.fingerprint`; made when a crystal of its composition is met."""
        return fingerprint(self.crystal)


@dataclass(frozen=True, slots=True)
class Matcher:
    """How crystals are told apart.

    Attributes:
        exact: where both structures are at hand, ``StructureMatcher`` (default tolerances) has the last word.
        disordered: elements of a crystal that could share a site count as one, so that orderings of one alloy match
            (see :mod:`matinvent.screening.substitution`).
    """

    exact: bool = False
    disordered: bool = False

    @classmethod
    def of(cls, config: ScreeningConfig) -> Matcher:
        """The matcher that a configuration asks for."""
        return cls(exact=config.matcher == "structure-matcher", disordered=config.disordered)

    def identify(self, structure: Structure) -> Identity | Failure:
        """What a crystal is recognised by, or why it cannot be recognised."""
        crystal = read_crystal(structure)
        if isinstance(crystal, Failure):
            return crystal
        defect = cell_defect(crystal)
        if defect is not None:
            return defect
        numbers, amounts = np.unique(crystal.numbers, return_counts=True)
        formula = _reduced_formula(tuple(numbers.tolist()), tuple(amounts.tolist()))
        return Identity(formula, merge_similar(crystal) if self.disordered else crystal)

    def find(
        self, wanted: Identity, fingerprints: ArrayLike, crystal_at: Callable[[int], Crystal] | None = None
    ) -> int | None:
        """The position of the crystal that is the same, the closest if there are several; None if there is none.

        Args:
            wanted: the crystal looked for.
            fingerprints: of crystals of its composition, shape (M, 32).
            crystal_at: makes the crystal at a position, where structures are at hand.
        """
        distances = np.linalg.norm(np.asarray(fingerprints) - wanted.fingerprint, axis=1)
        if not (self.exact and crystal_at):
            position = int(distances.argmin())
            return position if distances[position] < THRESHOLD else None
        close = (int(i) for i in np.argsort(distances, kind="stable") if distances[i] < ASKED)
        return next((i for i in close if _fits(wanted.crystal, self._merged(crystal_at(i)))), None)

    def _merged(self, crystal: Crystal) -> Crystal:
        return merge_similar(crystal) if self.disordered else crystal


class Catalogue:
    """Labelled crystals, searched by reduced composition, then likeness."""

    def __init__(self, matcher: Matcher | None = None) -> None:
        self._matcher = matcher or Matcher()
        self._entries: dict[str, list[tuple[str, Identity]]] = {}

    def add(self, identity: Identity, label: str) -> None:
        """Enter one crystal under a name."""
        self._entries.setdefault(identity.composition, []).append((label, identity))

    def find(self, identity: Identity) -> str | None:
        """The name of the closest crystal entered that is the same, or None."""
        entries = self._entries.get(identity.composition)
        if not entries:
            return None
        rows = [other.fingerprint for _, other in entries]
        position = self._matcher.find(identity, rows, lambda i: entries[i][1].crystal)
        return None if position is None else entries[position][0]

    def find_or_add(self, identity: Identity, label: str) -> str | None:
        """The name of the same crystal; where there is none, enter this one under ``label`` and return None."""
        found = self.find(identity)
        if found is None:
            self.add(identity, label)
        return found

    def remove(self, labels: Collection[str]) -> None:
        """Strike out the crystals entered under these names."""
        self._entries = {
            composition: kept
            for composition, entries in self._entries.items()
            if (kept := [(label, identity) for label, identity in entries if label not in labels])
        }

    def state_dict(self) -> dict[str, Any]:
        """JSON values from which :meth:`load_state_dict` restores the catalogue."""
        return {
            composition: [[label, _to_lists(identity.crystal)] for label, identity in entries]
            for composition, entries in self._entries.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self._entries = {
            composition: [(label, Identity(composition, _from_lists(lists))) for label, lists in entries]
            for composition, entries in state.items()
        }


def identify(structure: Structure) -> Identity | Failure:
    """What a crystal is recognised by with the usual :class:`Matcher`."""
    return Matcher().identify(structure)


def group_unique(structures: Sequence[Structure], matcher: Matcher | None = None) -> list[int]:
    """For each crystal the position of the first one that is the same; its own position if it is new.

    A crystal that cannot be recognised (see :meth:`Matcher.identify`) equals nothing but itself.
    """
    matcher = matcher or Matcher()
    seen = Catalogue(matcher)
    groups = []
    for position, structure in enumerate(structures):
        identity = matcher.identify(structure)
        found = None if isinstance(identity, Failure) else seen.find_or_add(identity, str(position))
        groups.append(position if found is None else int(found))
    return groups


@lru_cache(maxsize=100_000)
def _reduced_formula(numbers: tuple[int, ...], amounts: tuple[int, ...]) -> str:
    """Reduced formula of atomic numbers and their amounts."""
    from pymatgen.core import Composition, Element

    amounts_by_symbol = {Element.from_Z(z).symbol: n for z, n in zip(numbers, amounts, strict=True)}
    return str(Composition(amounts_by_symbol).reduced_formula)


def _fits(one: Crystal, other: Crystal) -> bool:
    """What pymatgen's matcher says."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return bool(StructureMatcher().fit(one.to_structure(), other.to_structure()))


def _to_lists(crystal: Crystal) -> list[Any]:
    return [crystal.numbers.tolist(), crystal.lattice.tolist(), crystal.frac.tolist()]


def _from_lists(lists: list[Any]) -> Crystal:
    numbers, lattice, frac = lists
    return Crystal(np.array(numbers, dtype=np.int64), np.array(lattice), np.array(frac).reshape(-1, 3))
