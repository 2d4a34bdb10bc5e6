"""The template library: which symmetry templates known crystals have, and how often.

It plays for symmetric crystals the part that the distribution over cell sizes plays in DiffCSP, and
holds that distribution for template-free models (space group 0, one anchor per atom).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import torch

from matinvent.errors import ConfigError
from matinvent.generators.diffcsp.crystal import Crystal
from matinvent.generators.diffcsp.template import NO_GROUP, SymmetryTemplate, build_template, free_template


class TemplateLibrary:
    """Symmetry templates with their numbers of occurrence.

    Args:
        space_groups: (T,) international numbers, 0 for template-free.
        n_orbits: (T,) orbits of each template.
        anchors: (sum of n_orbits, 3) anchor positions, primitive fractional coordinates.
        n_atoms: (T,) atoms of the primitive cell.
        counts: (T,) occurrences in the training data.
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
        counts: Counter[tuple[object, ...]] = Counter()
        examples: dict[tuple[object, ...], SymmetryTemplate] = {}
        for crystal in crystals:
            key = _signature(crystal.template)
            counts[key] += 1
            examples.setdefault(key, crystal.template)
        if not counts:
            raise ConfigError("no crystal to take templates from")
        ranked = [(examples[key], count) for key, count in counts.most_common()]
        templates = [template for template, _ in ranked]
        return cls(
            space_groups=np.array([t.space_group for t in templates], dtype=np.int16),
            n_orbits=np.array([t.n_orbits for t in templates], dtype=np.int16),
            anchors=np.concatenate([_anchors(t) for t in templates]).astype(np.float32),
            n_atoms=np.array([t.n_atoms for t in templates], dtype=np.int16),
            counts=np.array([count for _, count in ranked], dtype=np.int32),
        )

    def __getitem__(self, index: int) -> SymmetryTemplate:
        """The template at an index, built on first use."""
        if index not in self._built:
            if self.space_groups[index] == NO_GROUP:
                template = free_template(int(self.n_atoms[index]))
            else:
                anchors = self.anchors[self._starts[index] : self._starts[index + 1]]
                template = build_template(int(self.space_groups[index]), list(anchors.astype(float)))
            self._built[index] = template
        return self._built[index]

    def draw(
        self, n: int, rng: torch.Generator, min_atoms: int | None = None, max_atoms: int | None = None
    ) -> list[SymmetryTemplate]:
        """Draw n templates by their counts among those of the wanted cell size.

        Raises:
            ConfigError: no template has a cell of the wanted size.
        """
        weights = torch.from_numpy(self.weights(min_atoms, max_atoms))
        picks = torch.multinomial(weights, n, replacement=True, generator=rng)
        return [self[int(index)] for index in picks]

    def weights(self, min_atoms: int | None = None, max_atoms: int | None = None) -> np.ndarray:
        """Counts of the templates of the wanted cell size, 0 for the others, (T,).

        Raises:
            ConfigError: no template has a cell of the wanted size.
        """
        low, high = min_atoms or 1, max_atoms or int(self.n_atoms.max())
        weights = np.where((self.n_atoms >= low) & (self.n_atoms <= high), self.counts, 0).astype(float)
        if not weights.any():
            raise ConfigError(
                f"no template has {low} to {high} atoms; the library has {self.n_atoms.min()} to {self.n_atoms.max()}"
            )
        return weights

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The constructor's arguments, for a checkpoint."""
        names = ("space_groups", "n_orbits", "anchors", "n_atoms", "counts")
        return {name: getattr(self, name) for name in names}


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
    generic = np.array([0.1234, 0.2718, 0.3819])
    return [template.origin[i] + generic @ template.directions[i] for i in first]
