"""CHGNet 0.3.0 for many crystals at once: energies, forces and stresses in one pass each way.

CHGNet (Deng et al., Nature Machine Intelligence 5, 1031, 2023) differentiates its energy twice
when asked for forces, because it was written to be trained on them. Relaxation needs the first
derivative only: the weights are frozen, the graph is freed by one backward pass, and the crystal
graphs are built from arrays. Energies and forces equal those of the package.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.neighbors import Crystal, Neighbors, cell_defect, find_neighbors
from matinvent.screening.potential import Evaluation

if TYPE_CHECKING:
    import torch
    from chgnet.graph import CrystalGraph
    from numpy.typing import NDArray

#: Heaviest element of CHGNet's embedding (plutonium).
MAX_ATOMIC_NUMBER = 94

#: Bond pairs per atom beyond which a crystal is too crowded to be evaluated (diamond has 272).
MAX_ANGLES_PER_ATOM = 5000


class ChgnetEvaluator:
    """Batched CHGNet.

    Args:
        device: torch device that holds the weights.
    """

    potential = "chgnet-0.3.0"

    def __init__(self, device: str = "cpu") -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # the package announces itself
            from chgnet.model import CHGNet

            self._model: Any = CHGNet.load(model_name="0.3.0", use_device=device, verbose=False)
        self._model.eval().requires_grad_(False)
        self._device = device
        self._bond_cutoff = float(self._model.graph_converter.bond_graph_cutoff)
        self._atom_cutoff = float(self._model.graph_converter.atom_graph_cutoff)

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation | Failure]:
        """Evaluate crystals in one batch; what CHGNet cannot treat is a Failure in its place.

        Failure kinds: those of :func:`~matinvent.screening.neighbors.cell_defect`,
        ``unknown-element``, ``isolated-atom``, ``too-dense``, ``not-finite``, ``error``.
        """
        graphs = [self._graph(crystal) for crystal in crystals]
        usable = [index for index, graph in enumerate(graphs) if not isinstance(graph, Failure)]
        outcomes = self._forward(
            [graph for graph in graphs if not isinstance(graph, Failure)], [crystals[i] for i in usable]
        )
        results: list[Any] = list(graphs)
        for index, outcome in zip(usable, outcomes, strict=True):
            results[index] = outcome
        return results

    def _graph(self, crystal: Crystal) -> CrystalGraph | Failure:
        defect = cell_defect(crystal)
        if defect is not None:
            return defect
        if crystal.numbers.max() > MAX_ATOMIC_NUMBER or crystal.numbers.min() < 1:
            return Failure("unknown-element", f"CHGNet knows the elements up to Z = {MAX_ATOMIC_NUMBER}")
        pairs = find_neighbors(crystal, self._atom_cutoff)
        if len(np.unique(pairs.center)) < len(crystal):
            return Failure("isolated-atom", f"an atom has no neighbour within {self._atom_cutoff:g} A")
        near = np.bincount(pairs.center[pairs.distance < self._bond_cutoff], minlength=len(crystal))
        if (near**2).sum() > MAX_ANGLES_PER_ATOM * len(crystal):
            return Failure("too-dense", f"an atom has {near.max()} neighbours within {self._bond_cutoff:g} A")
        return self._tensors(crystal, pairs)

    def _tensors(self, crystal: Crystal, pairs: Neighbors) -> CrystalGraph:
        """CHGNet's own graph class, its lattice and coordinates ready to be differentiated."""
        import torch
        from chgnet.graph import CrystalGraph

        first, undirected = _undirected(pairs)
        complete = np.bincount(undirected)[undirected] == 2
        if not complete.all():  # a pair on the cutoff seen from one side only; its weight is 0
            keep = np.flatnonzero(complete)
            pairs = Neighbors(pairs.center[keep], pairs.other[keep], pairs.image[keep], pairs.distance[keep])
            first, undirected = _undirected(pairs)
        angles = _angles(pairs, undirected, self._bond_cutoff)

        def indices(values: NDArray[np.int64]) -> torch.Tensor:
            return torch.as_tensor(values, dtype=torch.int32, device=self._device)

        def reals(values: NDArray[Any]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32, device=self._device)

        return CrystalGraph(
            atomic_number=indices(crystal.numbers),
            atom_frac_coord=reals(crystal.frac).requires_grad_(),
            atom_graph=indices(np.stack([pairs.center, pairs.other], axis=1)),
            atom_graph_cutoff=self._atom_cutoff,
            neighbor_image=reals(pairs.image),
            directed2undirected=indices(undirected),
            undirected2directed=indices(first),
            bond_graph=indices(angles),
            bond_graph_cutoff=self._bond_cutoff,
            lattice=reals(crystal.lattice).requires_grad_(),
        )

    def _forward(self, graphs: Sequence[CrystalGraph], crystals: Sequence[Crystal]) -> list[Evaluation | Failure]:
        """One pass each way; when the batch raises, its halves are tried, down to the culprit."""
        import torch

        if not graphs:
            return []
        try:
            with warnings.catch_warnings():  # the package reads cell volumes off tensors that carry gradients
                warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True", UserWarning)
                energies = self._model(graphs, task="e")["e"]
            sizes = torch.tensor([len(crystal) for crystal in crystals], device=self._device)
            energies = energies * sizes
            leaves = [graph.atom_frac_coord for graph in graphs] + [graph.lattice for graph in graphs]
            gradients = torch.autograd.grad(energies.sum(), leaves)
        except (RuntimeError, ValueError, IndexError) as error:
            if len(graphs) == 1:
                return [Failure("error", f"CHGNet: {type(error).__name__}: {error}")]
            half = len(graphs) // 2
            return self._forward(graphs[:half], crystals[:half]) + self._forward(graphs[half:], crystals[half:])
        values = energies.detach().double().cpu().numpy()
        arrays = [gradient.double().cpu().numpy() for gradient in gradients]
        return [
            _evaluation(crystal, float(energy), by_frac, by_lattice)
            for crystal, energy, by_frac, by_lattice in zip(
                crystals, values, arrays[: len(crystals)], arrays[len(crystals) :], strict=True
            )
        ]


def _evaluation(
    crystal: Crystal, energy: float, by_frac: NDArray[np.float64], by_lattice: NDArray[np.float64]
) -> Evaluation | Failure:
    """Forces and stress from dE/d(fractional coordinates) and dE/d(lattice).

    Positions are r = s L, hence dE/ds = (dE/dr) L^T; a strain e maps L to L (1 + e) at fixed s,
    hence dE/de = L^T dE/dL.
    """
    forces = np.asarray(-np.linalg.solve(crystal.lattice, by_frac.T).T, dtype=np.float64)
    strain_gradient = crystal.lattice.T @ by_lattice
    stress = 0.5 * (strain_gradient + strain_gradient.T) / crystal.volume
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
        return Failure("not-finite", "CHGNet gives no finite energy, force or stress")
    return Evaluation(energy, forces, stress)


def _undirected(pairs: Neighbors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Join each pair with its reverse: the first directed pair of each bond, and the bond of each pair."""
    forward = np.column_stack([pairs.center, pairs.other, pairs.image])
    backward = np.column_stack([pairs.other, pairs.center, -pairs.image])
    spread = int(np.abs(pairs.image).max(initial=0))
    base = np.array([1 + int(pairs.center.max(initial=0))] * 2 + [2 * spread + 1] * 3, dtype=np.int64)
    offset = np.array([0, 0, spread, spread, spread])
    weights = np.append(np.cumprod(base[::-1])[::-1][1:], 1)
    keys = np.minimum((forward + offset) @ weights, (backward + offset) @ weights)
    _, first, bond = np.unique(keys, return_index=True, return_inverse=True)
    return first, bond.reshape(-1)


def _angles(pairs: Neighbors, bond: NDArray[np.int64], cutoff: float) -> NDArray[np.int64]:
    """Ordered pairs of short bonds at a common atom, shape (A, 5).

    Columns as CHGNet wants them: atom, first bond, first directed pair, second bond, second
    directed pair.
    """
    short = np.flatnonzero(pairs.distance < cutoff)
    if len(short) == 0:
        return np.zeros((0, 5), dtype=np.int64)
    counts = np.bincount(pairs.center[short])
    starts = np.cumsum(counts) - counts
    repeats = counts[pairs.center[short]]
    left = np.repeat(short, repeats)
    within = np.arange(len(left)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    right = short[starts[pairs.center[left]] + within]
    distinct = left != right
    left, right = left[distinct], right[distinct]
    return np.column_stack([pairs.center[left], bond[left], left, bond[right], right])
