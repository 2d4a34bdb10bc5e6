"""CHGNet 0.3.0 for many crystals at once: energies, forces and stresses in one pass each way.

The package chgnet (Deng et al., Nature Machine Intelligence 5, 1031, 2023) was written to be trained on forces: it
differentiates twice and takes crystals one by one into its graph. Relaxation needs neither. Here the crystals of a
batch become one graph, made of arrays, and :mod:`matinvent.screening.chgnet_network` computes energies and gradients
from the package's weights. Energies, forces and stresses equal those of the package.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.neighbors import Crystal, cell_defect, find_neighbors
from matinvent.screening.potential import Evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

#: Heaviest element of CHGNet's embedding (plutonium).
MAX_ATOMIC_NUMBER = 94

#: Bond pairs per atom beyond which a crystal is too crowded to be evaluated (diamond has 272).
MAX_ANGLES_PER_ATOM = 5000


@dataclass(frozen=True, slots=True)
class Graph:
    """Several crystals as one graph: C crystals, N atoms, U bonds, A angles.

    Attributes:
        numbers: atomic numbers, shape (N,).
        owner: crystal of each atom, shape (N,), ascending.
        ends: the two atoms of each bond, shape (U, 2); a pair of atoms and its reverse are one bond.
        vector: from a bond's first to its second atom, shape (U, 3), A.
        short: number of bonds that form angles; they come first.
        corner: the atom at which two short bonds form an angle, shape (A,).
        legs: these two bonds, shape (A, 2), in one of the two orders.
        sign: 1 where both their vectors point away from the corner or both to it, else -1; shape (A,).
    """

    numbers: NDArray[np.int64]
    owner: NDArray[np.int64]
    ends: NDArray[np.int64]
    vector: NDArray[np.float64]
    short: int
    corner: NDArray[np.int64]
    legs: NDArray[np.int64]
    sign: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Bonds:
    """A crystal and its bonds: ``ends`` and ``vector`` as in :class:`Graph`."""

    crystal: Crystal
    ends: NDArray[np.int64]
    vector: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Description:
    """What CHGNet says about one crystal of N atoms beside forces.

    Attributes:
        energy: potential energy of the cell (eV).
        moments: magnitudes of the magnetic moments of the atoms, shape (N,), muB. The potential knows no signs.
        features: of the atoms, shape (N, 128): before the last convolution, then after it. The sum over the atoms of
            the second half is what the package calls the crystal feature.
    """

    energy: float
    moments: NDArray[np.float64]
    features: NDArray[np.float32]


class ChgnetEvaluator:
    """Batched CHGNet.

    Args:
        device: torch device that holds the weights.
    """

    potential = "chgnet-0.3.0"

    def __init__(self, device: str = "cpu") -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # the package announces itself
            from chgnet.model import CHGNet

            model: Any = CHGNet.load(model_name="0.3.0", use_device=device, verbose=False)
        from matinvent.screening.chgnet_network import Network

        self._network = Network(model, device)
        self._atom_cutoff = float(model.graph_converter.atom_graph_cutoff)
        self._bond_cutoff = float(model.graph_converter.bond_graph_cutoff)

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation | Failure]:
        """Evaluate crystals in one batch; what CHGNet cannot treat is a Failure in its place.

        Failure kinds: those of :func:`~matinvent.screening.neighbors.cell_defect`,
        ``unknown-element``, ``isolated-atom``, ``too-dense``, ``not-finite``, ``error``.
        """
        return self._batched(crystals, self._evaluate)

    def describe(self, crystals: Sequence[Crystal]) -> list[Description | Failure]:
        """Energies, moments and features of crystals, at half the cost of forces; failures as in :meth:`evaluate`."""
        return self._batched(crystals, self._describe)

    def _batched(
        self, crystals: Sequence[Crystal], compute: Callable[[Sequence[Crystal], Graph], Sequence[T | Failure]]
    ) -> list[T | Failure]:
        """Compute something of all crystals in one batch; what CHGNet cannot treat is a Failure in its place."""
        bonds = [self._find_bonds(crystal) for crystal in crystals]
        outcomes = iter(self._forward([bond for bond in bonds if not isinstance(bond, Failure)], compute))
        return [bond if isinstance(bond, Failure) else next(outcomes) for bond in bonds]

    def _evaluate(self, crystals: Sequence[Crystal], graph: Graph) -> list[Evaluation | Failure]:
        energies, by_vector = self._network.evaluate(graph)
        return _evaluations(crystals, graph, energies, by_vector)

    def _describe(self, crystals: Sequence[Crystal], graph: Graph) -> list[Description | Failure]:
        energies, moments, features = self._network.describe(graph)
        ends = np.cumsum([len(crystal) for crystal in crystals])[:-1]
        parts = zip(energies.tolist(), np.split(moments, ends), np.split(features, ends), strict=True)
        return [
            Description(energy, own, rows)
            if np.isfinite(energy) and np.isfinite(own).all() and np.isfinite(rows).all()
            else Failure("not-finite", "CHGNet gives no finite energy, moment or feature")
            for energy, own, rows in parts
        ]

    def _find_bonds(self, crystal: Crystal) -> _Bonds | Failure:
        defect = cell_defect(crystal)
        if defect is not None:
            return defect
        if crystal.numbers.max() > MAX_ATOMIC_NUMBER or crystal.numbers.min() < 1:
            return Failure("unknown-element", f"CHGNet knows the elements up to Z = {MAX_ATOMIC_NUMBER}")
        pairs = find_neighbors(crystal, self._atom_cutoff)
        if np.bincount(pairs.center, minlength=len(crystal)).min() == 0:
            return Failure("isolated-atom", f"an atom has no neighbour within {self._atom_cutoff:g} A")
        near = np.bincount(pairs.center[pairs.distance < self._bond_cutoff], minlength=len(crystal))
        if (near**2).sum() > MAX_ANGLES_PER_ATOM * len(crystal):
            return Failure("too-dense", f"an atom has {near.max()} neighbours within {self._bond_cutoff:g} A")
        reach = 1 + int(np.abs(pairs.image).max())
        ahead = pairs.image @ np.array([4 * reach**2, 2 * reach, 1]) > 0  # of an image and its opposite exactly one is
        once = np.flatnonzero((pairs.center < pairs.other) | ((pairs.center == pairs.other) & ahead))
        ends = np.stack([pairs.center[once], pairs.other[once]], axis=1)
        vector = (crystal.frac[ends[:, 1]] - crystal.frac[ends[:, 0]] + pairs.image[once]) @ crystal.lattice
        return _Bonds(crystal, ends, vector)

    def _forward(
        self, bonds: Sequence[_Bonds], compute: Callable[[Sequence[Crystal], Graph], Sequence[T | Failure]]
    ) -> Sequence[T | Failure]:
        """Compute in one batch; when it raises, its halves are tried, down to the culprit."""
        if not bonds:
            return []
        graph = _join(bonds, self._bond_cutoff)
        try:
            return compute([bond.crystal for bond in bonds], graph)
        except (RuntimeError, ValueError, IndexError) as error:
            if len(bonds) == 1:
                return [Failure("error", f"CHGNet: {type(error).__name__}: {error}")]
            half = len(bonds) // 2
            return [*self._forward(bonds[:half], compute), *self._forward(bonds[half:], compute)]


def _join(bonds: Sequence[_Bonds], cutoff: float) -> Graph:
    """The graph of several crystals; bonds shorter than ``cutoff`` (A) form angles."""
    sizes = np.array([len(bond.crystal) for bond in bonds])
    first_atoms = np.cumsum(sizes) - sizes
    ends = np.concatenate([bond.ends + first for bond, first in zip(bonds, first_atoms, strict=True)])
    vector = np.concatenate([bond.vector for bond in bonds])
    short = np.linalg.norm(vector, axis=1) < cutoff
    order = np.argsort(~short, kind="stable")
    ends, vector = ends[order], vector[order]
    corner, legs, sign = _angles(ends[: short.sum()], int(sizes.sum()))
    numbers = np.concatenate([bond.crystal.numbers for bond in bonds])
    owner = np.repeat(np.arange(len(bonds)), sizes)
    return Graph(numbers, owner, ends, vector, int(short.sum()), corner, legs, sign)


def _angles(ends: NDArray[np.int64], atoms: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of bonds that meet at an atom: ``corner``, ``legs`` and ``sign`` of :class:`Graph`.

    A bond of an atom with its own image begins there twice, and forms a straight angle with itself.
    """
    center = ends.T.ravel()
    order = np.argsort(center, kind="stable")
    center = center[order]
    later = np.cumsum(np.bincount(center, minlength=atoms))[center] - 1 - np.arange(len(center))
    left = np.repeat(np.arange(len(center)), later)
    right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(later) - later, later)
    backward, bond = np.divmod(order, max(len(ends), 1))
    sign = np.where(backward[left] == backward[right], 1.0, -1.0)
    return center[left], np.stack([bond[left], bond[right]], axis=1), sign


def _evaluations(
    crystals: Sequence[Crystal], graph: Graph, energies: NDArray[np.float64], by_vector: NDArray[np.float64]
) -> list[Evaluation | Failure]:
    """Forces and stresses from the derivatives of the energies by bond vectors.

    A strain e maps a bond vector v to v (1 + e), hence dE/de is the sum of v (x) dE/dv; it is
    symmetric but for rounding, because the energy does not change when the crystal turns.
    """
    forces = _sum_rows(by_vector, graph.ends[:, 0], len(graph.numbers))
    forces -= _sum_rows(by_vector, graph.ends[:, 1], len(graph.numbers))
    products = (graph.vector[:, :, None] * by_vector[:, None, :]).reshape(-1, 9)
    virials = _sum_rows(products, graph.owner[graph.ends[:, 0]], len(crystals)).reshape(-1, 3, 3)
    results: list[Evaluation | Failure] = []
    first = 0
    for crystal, energy, virial in zip(crystals, energies.tolist(), virials, strict=True):
        own = forces[first : first + len(crystal)]
        first += len(crystal)
        if np.isfinite(energy) and np.isfinite(own).all() and np.isfinite(virial).all():
            results.append(Evaluation(energy, own, 0.5 * (virial + virial.T) / crystal.volume))
        else:
            results.append(Failure("not-finite", "CHGNet gives no finite energy, force or stress"))
    return results


def _sum_rows(values: NDArray[np.float64], index: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Rows with the same index summed, shape (size, columns)."""
    return np.stack([np.bincount(index, column, size) for column in values.T], axis=1)
