"""The template library: which symmetry templates known crystals have, of how many elements, and how often.

It plays for symmetric crystals the part that the distribution over cell sizes plays in DiffCSP, and
holds that distribution for template-free models (space group 0, one anchor per atom).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from matinvent.errors import ConfigError
from matinvent.generators.diffcsp.crystal import Crystal
from matinvent.generators.diffcsp.template import NO_GROUP, SymmetryTemplate, build_template, free_template
from matinvent.screening.symmetry import crystal_system_of

#: Stored anchors are exact but for single precision; a generic position may lie close to a special one.
_EXACT = 1e-3


@dataclass(frozen=True)
class TemplateFilter:
    """Which templates to draw; None or empty: all.

    Attributes:
        min_atoms, max_atoms: bounds on the atoms of the primitive cell.
        min_elements, max_elements: bounds on the number of distinct elements.
        max_orbits: most occupied orbits.
        space_groups: international numbers.
        crystal_systems: names as in :data:`~matinvent.screening.symmetry.CRYSTAL_SYSTEMS`.
    """

    min_atoms: int | None = None
    max_atoms: int | None = None
    min_elements: int | None = None
    max_elements: int | None = None
    max_orbits: int | None = None
    space_groups: tuple[int, ...] = ()
    crystal_systems: tuple[str, ...] = ()

    def __str__(self) -> str:
        chosen = {name: value for name, value in vars(self).items() if value not in (None, ())}
        return ", ".join(f"{name} {value}" for name, value in chosen.items()) or "any"


@dataclass(frozen=True, eq=False)
class Blueprint:
    """One draw from the library: a template, its index, and the number of distinct elements to fill it with."""

    index: int
    template: SymmetryTemplate
    n_elements: int


class TemplateLibrary:
    """Symmetry templates with their numbers of occurrence.

    Args:
        space_groups: (T,) international numbers, 0 for template-free.
        n_orbits: (T,) orbits of each template.
        anchors: (sum of n_orbits, 3) anchor positions, primitive fractional coordinates.
        n_atoms: (T,) atoms of the primitive cell.
        counts: (T, E) occurrences in the training data with 1, 2, ... E distinct elements.
    """

    def __init__(
        self,
        space_groups: np.ndarray,
        n_orbits: np.ndarray,
        anchors: np.ndarray,
        n_atoms: np.ndarray,
        counts: np.ndarray,
    ) -> None:
        self.space_groups = space_groups
        self.n_orbits = n_orbits
        self.anchors = anchors
        self.n_atoms = n_atoms
        self.counts = counts
        self._starts = np.concatenate([[0], np.cumsum(n_orbits)])
        self._built: dict[int, SymmetryTemplate] = {}

    def __len__(self) -> int:
        return len(self.space_groups)

    @classmethod
    def from_crystals(cls, crystals: Iterable[Crystal]) -> TemplateLibrary:
        """Count the distinct templates of a set of crystals."""
        found: dict[tuple[object, ...], list[int]] = {}
        examples: dict[tuple[object, ...], SymmetryTemplate] = {}
        for crystal in crystals:
            key = _signature(crystal.template)
            found.setdefault(key, []).append(crystal.n_elements)
            examples.setdefault(key, crystal.template)
        if not found:
            raise ConfigError("no crystal to take templates from")
        ranked = sorted(found, key=lambda key: -len(found[key]))
        templates = [examples[key] for key in ranked]
        most = max(max(numbers) for numbers in found.values())
        return cls(
            space_groups=np.array([t.space_group for t in templates], dtype=np.int16),
            n_orbits=np.array([t.n_orbits for t in templates], dtype=np.int16),
            anchors=np.concatenate([_anchors(t) for t in templates]).astype(np.float32),
            n_atoms=np.array([t.n_atoms for t in templates], dtype=np.int16),
            counts=np.array([np.bincount(found[key], minlength=most + 1)[1:] for key in ranked], dtype=np.int32),
        )

    def __getitem__(self, index: int) -> SymmetryTemplate:
        """The template at an index, built on first use."""
        if index not in self._built:
            if self.space_groups[index] == NO_GROUP:
                template = free_template(int(self.n_atoms[index]))
            else:
                anchors = self.anchors[self._starts[index] : self._starts[index + 1]]
                template = build_template(int(self.space_groups[index]), list(anchors.astype(float)), _EXACT)
            self._built[index] = template
        return self._built[index]

    def draw(
        self,
        n: int,
        rng: torch.Generator,
        wanted: TemplateFilter | None = None,
        tilt: torch.Tensor | None = None,
    ) -> list[Blueprint]:
        """Draw n templates by their counts, with the number of elements they had in the data.

        Args:
            n: number of draws.
            rng: lives on the CPU.
            wanted: draw only among these.
            tilt: log of a factor on each template's weight, (T,).

        Raises:
            ConfigError: no template is as wanted.
        """
        weights = torch.from_numpy(self.weights(wanted or TemplateFilter()))
        if tilt is not None:
            weights = weights * torch.exp(tilt.double() - tilt.max())[:, None]
        picks = torch.multinomial(weights.flatten(), n, replacement=True, generator=rng).tolist()
        columns = weights.shape[1]
        return [Blueprint(pick // columns, self[pick // columns], pick % columns + 1) for pick in picks]

    def weights(self, wanted: TemplateFilter) -> np.ndarray:
        """Counts of the templates and element numbers that are wanted, 0 for the others, (T, E).

        Raises:
            ConfigError: no template is as wanted.
        """
        elements = np.arange(1, self.counts.shape[1] + 1)
        rows = _within(self.n_atoms, wanted.min_atoms, wanted.max_atoms)
        rows &= _within(self.n_orbits, None, wanted.max_orbits)
        if wanted.space_groups:
            rows &= np.isin(self.space_groups, wanted.space_groups)
        if wanted.crystal_systems:
            rows &= np.isin(self.crystal_systems, wanted.crystal_systems)
        columns = _within(elements, wanted.min_elements, wanted.max_elements)
        weights: np.ndarray = self.counts * rows[:, None] * columns
        if not weights.any():
            raise ConfigError(
                f"no template of the library fits ({wanted}); it has {self.n_atoms.min()} to {self.n_atoms.max()} "
                f"atoms, 1 to {len(elements)} elements, up to {self.n_orbits.max()} orbits and "
                f"{len(set(self.space_groups.tolist()))} space groups"
            )
        return weights.astype(float)

    @cached_property
    def crystal_systems(self) -> np.ndarray:
        """Crystal system of each template, (T,); template-free ones count as triclinic."""
        return np.array([crystal_system_of(int(group)) for group in self.space_groups])

    def find(self, template: SymmetryTemplate) -> int | None:
        """Index of a template, or None if the library lacks it."""
        wanted = _signature(template)
        alike = (self.space_groups == template.space_group) & (self.n_atoms == template.n_atoms)
        for index in np.flatnonzero(alike & (self.n_orbits == template.n_orbits)).tolist():
            if _signature(self[index]) == wanted:
                return index
        return None

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The constructor's arguments, for a checkpoint."""
        names = ("space_groups", "n_orbits", "anchors", "n_atoms", "counts")
        return {name: getattr(self, name) for name in names}


def _within(values: np.ndarray, low: int | None, high: int | None) -> np.ndarray:
    """Where values lie between two bounds, each of which may be missing."""
    lowest = values.min() if low is None else low
    highest = values.max() if high is None else high
    inside: np.ndarray = (values >= lowest) & (values <= highest)
    return inside


def _signature(template: SymmetryTemplate) -> tuple[object, ...]:
    """Equal for templates with the same occupied Wyckoff positions, whatever the free parameters."""
    orbits: list[object] = []
    for orbit in range(template.n_orbits):
        members = template.orbit == orbit
        sites = np.round(template.origin[members] % 1.0, 3) % 1.0
        lines = template.directions[members]
        orbits.append(sorted((tuple(s), tuple(v.ravel().astype(int))) for s, v in zip(sites, lines, strict=True)))
    return (template.space_group, template.n_atoms, repr(sorted(orbits, key=repr)))


def _anchors(template: SymmetryTemplate) -> Sequence[np.ndarray]:
    """A generic position on each orbit: irrational parameters keep it off higher-symmetry points."""
    first = [int(np.argmax(template.orbit == orbit)) for orbit in range(template.n_orbits)]
    generic = np.array([0.0713, 0.2137, 0.4391])
    return [template.origin[i] + generic @ template.directions[i] for i in first]
