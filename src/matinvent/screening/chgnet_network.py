"""CHGNet's energy and its gradient, arranged for frozen weights and many small crystals.

The energy is that of the package chgnet (Deng et al., Nature Machine Intelligence 5, 1031, 2023), whose weights are
read. The arithmetic is ordered for speed:

- The first layer of a gated perceptron acts on features of atoms, bonds and angles side by side. It is a sum of
  products, one per kind, that are made once per atom, bond or angle and summed where these meet.
- Both directions of a bond share its products and its weights; so do both orders of an angle.
- Layer normalisation needs no mean: it is taken out of the weights before.
- The gradient is with respect to bond vectors only; forces and stress follow from it. What no output depends on is left
  out: the last update of the angles, the update of bonds without angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from matinvent.screening.chgnet import Graph

#: Channels of every feature.
_WIDTH = 64

#: As in the package: keeps the arc cosine differentiable at 0 and 180 degrees.
_COSINE_SCALE = 1 - 1e-6


class Network:
    """The energy of CHGNet as a function of bond vectors.

    Args:
        model: the package's model; it is moved to the device, frozen, and of no other use afterwards.
        device: torch device of all computation.
    """

    def __init__(self, model: Any, device: str) -> None:
        self._model = model.to(device).eval().requires_grad_(False)
        self._device = device
        self._embed_bond = _Linear(torch.cat([model.bond_embedding.weight, model.bond_weights_ag.weight]))
        self._weigh_short = _Linear(model.bond_weights_bg.weight)
        self._embed_angle = _Linear(model.angle_embedding.weight)
        self._atom_convs = [_AtomConv(layer) for layer in model.atom_conv_layers]
        self._bond_convs = [_BondConv(layer) for layer in model.bond_conv_layers]
        self._angle_updates = [_Angular(layer) for layer in model.angle_layers[:-1]]

    def evaluate(self, graph: Graph) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies of the crystals, shape (C,), eV, and their derivatives by bond vectors, shape (U, 3), eV/A."""
        vectors = torch.tensor(graph.vector, dtype=torch.float32, device=self._device, requires_grad=True)
        with torch.enable_grad():
            _, atoms = self._atom_features(graph, vectors)
            energies = self._model.mlp(atoms)[:, 0]
            [gradient] = torch.autograd.grad(energies.sum(), vectors)
        by_vector: NDArray[np.float64] = gradient.double().cpu().numpy()
        return self._total(graph, energies.detach()), by_vector

    def describe(self, graph: Graph) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
        """What one pass tells beside forces: energies, moments of the atoms and their features.

        Returns:
            Energies of the crystals, shape (C,), eV; magnitudes of magnetic moments, shape (N,), muB; features, shape
            (N, 128): before the last convolution (from which the moments are read) and after (the energies).
        """
        vectors = torch.tensor(graph.vector, dtype=torch.float32, device=self._device)
        with torch.no_grad():
            inner, atoms = self._atom_features(graph, vectors)
            energies = self._total(graph, self._model.mlp(atoms)[:, 0])
            moments = self._model.site_wise(inner)[:, 0].abs().double()
            features = torch.cat([inner, atoms], dim=1)
        return energies, moments.cpu().numpy(), features.cpu().numpy()

    def _total(self, graph: Graph, site_energies: Tensor) -> NDArray[np.float64]:
        """Energies of the crystals (eV) from those of the atoms without the elements' references."""
        elements = torch.as_tensor(graph.numbers - 1, device=self._device)
        alone = self._model.composition_model.fc.weight[0, elements].double()
        sites: NDArray[np.float64] = (site_energies.double() + alone).cpu().numpy()
        return np.bincount(graph.owner, sites).astype(np.float64)

    def _atom_features(self, graph: Graph, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the atoms before the last convolution, and those read out after it; each of shape (N, 64)."""
        incidences = _Incidences(graph, self._device)
        elements = torch.as_tensor(graph.numbers - 1, device=self._device)
        radial = self._model.bond_basis_expansion
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        basis = radial.rbf_expansion_ag(lengths)
        bonds, weights = self._embed_bond(basis).chunk(2, dim=1)
        short, long = bonds[: graph.short], bonds[graph.short :]
        atoms = inner = self._model.atom_embedding.embedding.weight[elements]
        if len(graph.legs):
            short_weights = self._weigh_short(radial.rbf_expansion_bg(lengths[: graph.short]))
            angles = self._angle_features(graph, vectors[: graph.short] / lengths[: graph.short, None])
        for layer, convolve in enumerate(self._atom_convs):
            inner, atoms = atoms, convolve(incidences, atoms, short, long, weights)
            if len(graph.legs) and layer < len(self._bond_convs):
                short = self._bond_convs[layer](incidences, atoms, short, angles, short_weights)
                if layer < len(self._angle_updates):
                    update = self._angle_updates[layer](incidences, atoms, short, angles)
                    angles = (update.view(-1, *angles.shape) + angles).view(update.shape)
        return inner, self._model.readout_norm(atoms)

    def _angle_features(self, graph: Graph, directions: Tensor) -> Tensor:
        """The first features of the angles, both orders, shape (2 A, 64)."""
        legs = torch.as_tensor(graph.legs, device=self._device)
        sign = torch.tensor(graph.sign, dtype=torch.float32, device=self._device)
        cosine = (directions[legs[:, 0]] * directions[legs[:, 1]]).sum(dim=1) * sign
        angle = torch.acos(cosine * _COSINE_SCALE)
        return self._embed_angle(self._model.angle_basis_expansion.fourier_expansion(angle))


class _Incidences:
    """Which rows are summed where.

    The table that the first layer of a perceptron is gathered from has several rows for each atom, bond or angle: what
    :meth:`_Gated.products` lists, first for the core, then for the gate. Gathered are all cores, then all gates.

    Attributes:
        edges: from atoms and bonds to directed bonds, all in one direction, then all in the other.
        centers: the atom that each directed bond changes.
        angles: from atoms, short bonds and angles to ordered angles, by the number of rows that the angles' features
            have: at first the two orders share theirs. All in one order, then all in the other.
        left: the bond that each ordered angle changes.
        right: the other one.
    """

    def __init__(self, graph: Graph, device: str) -> None:
        atoms, bonds, angles, short = len(graph.numbers), len(graph.ends), len(graph.legs), graph.short
        center, other = _both_ways(graph.ends)
        row = 4 * atoms + 2 * np.tile(np.arange(bonds), 2)
        core = np.stack([4 * center, 4 * other + 1, row], axis=1)
        self.edges = _Incidence(np.concatenate([core, core + np.array([2, 2, 1])]), 4 * atoms + 2 * bonds, device)
        self.centers = _Incidence(center[:, None], atoms, device)
        if angles:
            left, right = _both_ways(graph.legs)
            corner = np.tile(graph.corner, 2)
            self.angles = {}
            for count in (angles, 2 * angles):
                row = 2 * atoms + 4 * short + 2 * (np.arange(2 * angles) % count)
                core = np.stack([2 * corner, 2 * atoms + 4 * left, 2 * atoms + 4 * right + 1, row], axis=1)
                size = 2 * atoms + 4 * short + 2 * count
                self.angles[count] = _Incidence(np.concatenate([core, core + np.array([1, 2, 2, 1])]), size, device)
            self.left = _Incidence(left[:, None], short, device)
            self.right = _Incidence(right[:, None], short, device)


def _both_ways(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and second of each pair, then all pairs turned round."""
    return pairs.T.ravel(), pairs[:, ::-1].T.ravel()


class _Incidence:
    """A sparse matrix of ones.

    Args:
        columns: the columns of the ones in each row, shape (R, k).
        width: number of columns of the matrix.
        device: where it is used.
    """

    def __init__(self, columns: NDArray[np.int64], width: int, device: str) -> None:
        rows, each = columns.shape
        starts = np.arange(0, rows * each + 1, each)
        transposed = csr_array((np.ones(columns.size, np.int8), columns.ravel(), starts), (rows, width)).tocsc()

        def tensor(indices: NDArray[Any]) -> Tensor:
            return torch.as_tensor(indices.astype(np.int32, copy=False), device=device)

        self._rows = tensor(columns.ravel()), tensor(starts[:-1])
        self._columns = tensor(transposed.indices), tensor(transposed.indptr[:-1])

    def gather(self, table: Tensor) -> Tensor:
        """Each row's sum over the rows of a table."""
        summed: Tensor = _Product.apply(table, self._rows, self._columns)  # type: ignore[no-untyped-call]
        return summed

    def scatter(self, rows: Tensor) -> Tensor:
        """Each column's sum over rows: the transpose of :meth:`gather`."""
        summed: Tensor = _Product.apply(rows, self._columns, self._rows)  # type: ignore[no-untyped-call]
        return summed


class _Product(torch.autograd.Function):
    """Product with a sparse matrix of ones; its gradient is the product with the transpose."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, matrix: tuple[Tensor, Tensor], transpose: tuple[Tensor, Tensor]) -> Tensor:
        ctx.transpose = transpose
        return functional.embedding_bag(matrix[0], table, matrix[1], mode="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        indices, starts = ctx.transpose
        return functional.embedding_bag(indices, gradient.contiguous(), starts, mode="sum"), None, None


class _AtomConv:
    """Messages along bonds change the features of atoms."""

    def __init__(self, layer: Any) -> None:
        self._gated = _Gated(layer.twoBody_atom)
        self._atoms = self._gated.products(0, 2, biased=True)  # center, bond, other atom
        self._bonds = self._gated.products(1)
        self._out = _Linear(layer.mlp_out.layers[-1].weight)

    def __call__(self, incidences: _Incidences, atoms: Tensor, short: Tensor, long: Tensor, weights: Tensor) -> Tensor:
        products = self._atoms(atoms), self._bonds(short), self._bonds(long)
        messages = self._gated(incidences.edges.gather(_table(products))).view(2, *weights.shape) * weights
        return atoms + self._out(incidences.centers.scatter(messages.view(-1, _WIDTH)))


class _BondConv:
    """Messages along angles change the features of short bonds."""

    def __init__(self, layer: Any) -> None:
        self._angular = _Angular(layer)
        self._out = _Linear(layer.mlp_out.layers[-1].weight)

    def __call__(
        self, incidences: _Incidences, atoms: Tensor, bonds: Tensor, angles: Tensor, weights: Tensor
    ) -> Tensor:
        messages = self._angular(incidences, atoms, bonds, angles) * incidences.right.gather(weights)
        return bonds + self._out(incidences.left.scatter(messages) * weights)


class _Angular:
    """The gated perceptron of angles with the atom and the short bonds that form them."""

    def __init__(self, layer: Any) -> None:
        self._gated = _Gated(layer.twoBody_bond)
        self._atoms = self._gated.products(3, biased=True)  # left bond, right bond, angle, corner
        self._bonds = self._gated.products(0, 1)
        self._angles = self._gated.products(2)

    def __call__(self, incidences: _Incidences, atoms: Tensor, bonds: Tensor, angles: Tensor) -> Tensor:
        products = self._atoms(atoms), self._bonds(bonds), self._angles(angles)
        return self._gated(incidences.angles[len(angles)].gather(_table(products)))


def _table(products: Sequence[Tensor]) -> Tensor:
    """Products one below the other, each in rows of 64."""
    return torch.cat([product.view(-1, _WIDTH) for product in products])


class _Gated:
    """A gated perceptron after its first layer: core * gate, each normalised.

    Called with the first layer's sums of all cores and below them all gates, shape (2 R, 64); gives shape (R, 64).
    """

    def __init__(self, module: Any) -> None:
        layers = [
            [layer for layer in mlp.layers if isinstance(layer, torch.nn.Linear)]
            for mlp in (module.mlp_core, module.mlp_gate)
        ]
        for half in layers:
            _centre(half[-1])
        self._first = [half[0] for half in layers]
        self.hidden = [_Linear(half[1].weight, half[1].bias) for half in layers if len(half) == 2]
        self.norms = [module.bn1, module.bn2]

    def products(self, *blocks: int, biased: bool = False) -> _Linear:
        """The first layer's action on some blocks of 64 inputs; 64 outputs per block, for the core, then the gate."""
        weights = [half.weight[:, _WIDTH * block :][:, :_WIDTH] for half in self._first for block in blocks]
        biases = [half.bias * (block == blocks[0]) for half in self._first for block in blocks]
        return _Linear(torch.cat(weights), torch.cat(biases) if biased else None)

    def __call__(self, sums: Tensor) -> Tensor:
        product: Tensor = _GatedFunction.apply(sums, self)  # type: ignore[no-untyped-call]
        return product


class _GatedFunction(torch.autograd.Function):
    """:class:`_Gated` with its gradient by the sums."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, gated: _Gated) -> Tensor:
        halves = (functional.silu(sums) if gated.hidden else sums).chunk(2)
        if gated.hidden:
            halves = tuple(layer.product(half) for layer, half in zip(gated.hidden, halves, strict=True))
        (core, core_scale), (gate, gate_scale) = map(_normalised, halves, gated.norms)
        activated, opened = functional.silu(core), gate.sigmoid_()
        ctx.gated = gated
        ctx.save_for_backward(sums, *halves, core_scale, gate_scale, core, activated, opened)
        return activated * opened

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        sums, before_core, before_gate, core_scale, gate_scale, core, activated, opened = ctx.saved_tensors
        gated = ctx.gated
        by_halves = [
            _normalised_backward(_silu_backward(gradient * opened, core), before_core, core_scale, gated.norms[0]),
            _normalised_backward(
                _sigmoid_backward(gradient * activated, opened), before_gate, gate_scale, gated.norms[1]
            ),
        ]
        if not gated.hidden:
            return torch.cat(by_halves), None
        by_hidden = [layer.back(half) for layer, half in zip(gated.hidden, by_halves, strict=True)]
        return _silu_backward(torch.cat(by_hidden), sums), None


_silu_backward = torch.ops.aten.silu_backward
_sigmoid_backward = torch.ops.aten.sigmoid_backward


def _centre(layer: torch.nn.Linear) -> None:
    """Let the outputs of a layer have mean 0, as the normalisation that follows would do."""
    for parameter in (layer.weight, layer.bias):
        parameter.sub_(parameter.mean(dim=0))


def _normalised(values: Tensor, norm: torch.nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Layer normalisation of rows whose mean is 0, and the rows' inverse scales."""
    square = torch.linalg.vector_norm(values, dim=1, keepdim=True).square_()
    inverse = square.div_(_WIDTH).add_(norm.eps).rsqrt_()
    scaled = values * inverse
    return torch.addcmul(norm.bias, scaled, norm.weight, out=scaled), inverse


def _normalised_backward(gradient: Tensor, values: Tensor, inverse: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    """The gradient by the rows before :func:`_normalised`."""
    by_values: Tensor = torch.ops.aten.native_layer_norm_backward(
        gradient, values, [_WIDTH], torch.zeros_like(inverse), inverse, norm.weight, norm.bias, [True, False, False]
    )[0]
    return by_values


class _Linear:
    """A linear layer with frozen weights.

    Args:
        weight: shape (outputs, inputs).
        bias: shape (outputs,), or none.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = weight.contiguous()
        self.bias = bias
        self._transposed = weight.T.contiguous()

    def product(self, rows: Tensor) -> Tensor:
        """The layer's outputs, without a graph for differentiation."""
        return functional.linear(rows, self.weight, self.bias)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient by the inputs from that by the outputs."""
        return functional.linear(gradient, self._transposed)

    def __call__(self, rows: Tensor) -> Tensor:
        outputs: Tensor = _LinearFunction.apply(rows, self)  # type: ignore[no-untyped-call]
        return outputs


class _LinearFunction(torch.autograd.Function):
    """:class:`_Linear` with its gradient by the inputs."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, layer: _Linear) -> Tensor:
        ctx.layer = layer
        return layer.product(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.back(gradient), None
