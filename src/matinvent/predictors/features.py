"""The numbers that predictors see of a crystal: blocks of features, made once per crystal.

No feature depends on how the crystal is drawn: cell, origin, orientation, order of the atoms, supercell. Several
predictors asked about the same crystal share one description by CHGNet.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import ConfigError, Failure
from matinvent.predictors.cell import CELL_NAMES, cell_features
from matinvent.predictors.composition import composition_features, composition_names
from matinvent.properties.potentials import compute_batched, load_chgnet
from matinvent.screening.invariants import COUNT, invariants
from matinvent.screening.relaxation import read_crystal

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from matinvent.screening.chgnet import Description
    from matinvent.screening.neighbors import Crystal
    from matinvent.screening.reference import ReferenceSet

_ATOM_FEATURES = 128
_EXTREMES = ("spread", "least", "most")

#: Crystals whose blocks are remembered (about 4 kB each).
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class _Block:
    """A named group of features.

    Attributes:
        names: gives a name for each feature.
        compute: from a crystal and what CHGNet says of it.
    """

    names: Callable[[], Sequence[str]]
    compute: Callable[[Crystal, Description], NDArray[np.float64] | Failure]


def block_names() -> tuple[str, ...]:
    """The blocks there are, in the order that vectors have them in."""
    return tuple(_BLOCKS)


def feature_names(blocks: Iterable[str]) -> list[str]:
    """Names of the features of some blocks, ``block.feature``.

    Raises:
        ConfigError: there is no such block.
    """
    return [f"{block}.{name}" for block in _known(blocks) for name in _BLOCKS[block].names()]


def describe(structures: Sequence[Structure], blocks: Iterable[str]) -> list[NDArray[np.float32] | Failure]:
    """The features of each crystal, shape (F,), in the order of :func:`feature_names`.

    Failure kinds: ``disordered``, ``unknown-element``, those of CHGNet's ``describe``, ``missing-reference`` (block
    energy), ``no-symmetry`` (block cell), ``not-finite``. All blocks are made of every crystal, so that a crystal has
    the same failures for all predictors but for blocks that they do not use.

    Raises:
        ConfigError: there is no such block.
    """
    wanted = _known(blocks)
    keys = [_MEMORY.key(structure) for structure in structures]
    remembered = [_MEMORY.recall(key) for key in keys]
    unknown = [position for position, known in enumerate(remembered) if known is None]
    for position, made in zip(unknown, _make([structures[i] for i in unknown]), strict=True):
        _MEMORY.remember(keys[position], made)
        remembered[position] = made
    return [_joined(made, wanted) for made in remembered if made is not None]


_Made = dict[str, "NDArray[np.float32] | Failure"] | Failure


def _known(blocks: Iterable[str]) -> list[str]:
    """Block names, each once and in the common order."""
    chosen = set(blocks)
    unknown = sorted(chosen - _BLOCKS.keys())
    if unknown:
        raise ConfigError(f"there are no features '{', '.join(unknown)}'; known are {', '.join(_BLOCKS)}")
    return [block for block in _BLOCKS if block in chosen]


def _joined(made: _Made, wanted: Sequence[str]) -> NDArray[np.float32] | Failure:
    """The wanted blocks as one vector, or the first failure among them."""
    if isinstance(made, Failure):
        return made
    parts: list[NDArray[np.float32]] = []
    for block in wanted:
        part = made[block]
        if isinstance(part, Failure):
            return part
        parts.append(part)
    return np.concatenate(parts)


def _make(structures: Sequence[Structure]) -> list[_Made]:
    """All blocks of crystals."""
    if not structures:
        return []
    described = compute_batched(load_chgnet().describe, structures)
    return [
        outcome if isinstance(outcome, Failure) else _blocks(structure, outcome)
        for structure, outcome in zip(structures, described, strict=True)
    ]


def _blocks(structure: Structure, description: Description) -> _Made:
    crystal = read_crystal(structure)
    if isinstance(crystal, Failure):
        return crystal
    made: dict[str, NDArray[np.float32] | Failure] = {}
    for name, block in _BLOCKS.items():
        values = block.compute(crystal, description)
        if not isinstance(values, Failure) and not np.isfinite(values).all():
            values = Failure("not-finite", f"a feature of the block '{name}' is no finite number")
        made[name] = values if isinstance(values, Failure) else values.astype(np.float32)
    return made


def _chgnet(crystal: Crystal, description: Description) -> NDArray[np.float64]:
    """Mean of CHGNet's atom features over the atoms, and its moments: mean and largest (muB), and sum per A^3."""
    moments = description.moments
    magnetism = [moments.mean(), moments.max(), moments.sum() / crystal.volume]
    return np.concatenate([description.features.mean(axis=0, dtype=np.float64), magnetism])


def _chgnet_names() -> list[str]:
    means = [f"mean_{i}" for i in range(_ATOM_FEATURES)]
    return [*means, "moment_mean", "moment_most", "moment_density"]


def _extremes(_: Crystal, description: Description) -> NDArray[np.float64]:
    """How much CHGNet's atom features differ among the atoms: standard deviation, smallest, largest."""
    rows = description.features.astype(np.float64)
    return np.concatenate([rows.std(axis=0), rows.min(axis=0), rows.max(axis=0)])


def _extreme_names() -> list[str]:
    return [f"{statistic}_{i}" for statistic in _EXTREMES for i in range(_ATOM_FEATURES)]


def _energy(crystal: Crystal, description: Description) -> NDArray[np.float64] | Failure:
    """CHGNet's energy, formation energy and energy above the known crystals' hull (eV/atom)."""
    from pymatgen.core import Composition

    from matinvent.screening.stability import symbol

    hull = _reference().hull
    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    composition = Composition({symbol(int(z)): int(n) for z, n in zip(numbers, counts, strict=True)})
    per_atom = description.energy / len(crystal)
    floor = hull.hull_energy(composition)
    if isinstance(floor, Failure):
        return floor
    pure = [hull.hull_energy(Composition(symbol(int(z)))) for z in numbers]
    elements = [energy for energy in pure if not isinstance(energy, Failure)]
    if len(elements) < len(pure):
        return Failure("missing-reference", f"{composition.reduced_formula}: an element has no reference energy")
    formation = per_atom - float(np.dot(counts / counts.sum(), elements))
    # A new crystal may lie below the hull, a known one cannot: what was learned from known ones ends at zero.
    return np.array([per_atom, formation, max(per_atom - floor, 0.0)])


@cache
def _reference() -> ReferenceSet:
    from matinvent.screening.reference import ReferenceSet

    return ReferenceSet.load("mp")


_BLOCKS = {
    "chgnet": _Block(_chgnet_names, _chgnet),
    "extremes": _Block(_extreme_names, _extremes),
    "composition": _Block(composition_names, lambda crystal, _: composition_features(crystal.numbers)),
    "cell": _Block(lambda: CELL_NAMES, lambda crystal, _: cell_features(crystal)),
    "pairs": _Block(lambda: [str(i) for i in range(COUNT)], lambda crystal, _: invariants(crystal).astype(np.float64)),
    "energy": _Block(lambda: ("per_atom", "formation", "above_hull"), _energy),
}


class _Memory:
    """The blocks of the crystals asked about last, by what the crystals are made of; safe among threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._made: OrderedDict[bytes, _Made] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def key(structure: Structure) -> bytes:
        """Lattice, coordinates and species, exactly."""
        species = ";".join(map(str, structure.species_and_occu))
        return b"|".join([structure.lattice.matrix.tobytes(), structure.frac_coords.tobytes(), species.encode()])

    def recall(self, key: bytes) -> _Made | None:
        """The blocks of a crystal, if they are still known."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
            return self._made.get(key)

    def remember(self, key: bytes, made: _Made) -> None:
        """Keep the blocks of a crystal; those asked about longest ago are forgotten."""
        with self._lock:
            self._made[key] = made
            while len(self._made) > self._size:
                self._made.popitem(last=False)


_MEMORY = _Memory(_REMEMBERED)
