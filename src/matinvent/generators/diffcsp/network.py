"""The networks: message passing over all atom pairs of the primitive cell.

After CSPNet (DiffCSP, Jiao et al. 2023): edges see Fourier features of fractional differences, which
are invariant to lattice translations. Ours adds interatomic distances over periodic images, central forces
between pairs for the coordinates, element features by group and period, and pooling over symmetry orbits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from pymatgen.core import Element
from torch import nn
from torch.nn.functional import silu

from matinvent.generators.diffcsp.crystal import MAX_Z, CrystalBatch
from matinvent.generators.diffcsp.geometry import PairFeatures
from matinvent.generators.diffcsp.lattice import FAMILIES, N_COORDS

#: Element index of a masked orbit.
MASKED = MAX_Z
#: Crystals with more elements share one embedding.
_MOST_ELEMENTS = 8


def supports_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are native there; elsewhere they are emulated and slow."""
    if device.type == "cpu":
        available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return True


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; stored with every checkpoint."""

    hidden: int = 192
    edge: int = 96
    layers: int = 6
    frequencies: int = 12
    radial: int = 12
    max_distance: float = 6.0
    stability_classes: int = 7


@dataclass(frozen=True)
class NetworkInput:
    """What the network sees of a noisy batch.

    ``species`` (B, O) element index or MASKED; ``positions`` (B, N, 3) fractional; ``lattice`` (B, 6)
    standardised coordinates; ``metric`` (B, 3, 3) A^2 and ``log_volume`` (B,), A^3, of the primitive cell; ``t``
    (B,); ``stability`` (B,) class, 0 = unknown.
    """

    species: torch.Tensor
    positions: torch.Tensor
    lattice: torch.Tensor
    metric: torch.Tensor
    log_volume: torch.Tensor
    t: torch.Tensor
    stability: torch.Tensor


@cache
def _element_table() -> torch.Tensor:
    """Group and period of each element index and of the mask, (MAX_Z + 1, 2)."""
    rows = [(e.group, e.row) for e in (Element.from_Z(z) for z in range(1, MAX_Z + 1))]
    return torch.tensor([*rows, (0, 0)])


class InteractionLayer(nn.Module):
    """One round of messages between all atom pairs."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        hidden, edge = config.hidden, config.edge
        self.norm = nn.LayerNorm(hidden)
        self.receiver = nn.Linear(hidden, edge)
        self.sender = nn.Linear(hidden, edge, bias=False)
        self.geometry = nn.Linear(edge, edge, bias=False)
        self.message = nn.Linear(edge, edge)
        self.update = nn.Sequential(nn.Linear(hidden + edge, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.condition = nn.Linear(hidden, hidden)

    def forward(
        self, nodes: torch.Tensor, edges: torch.Tensor, context: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Nodes (B, N, H), edges (B, N, N, E), context (B, H), averaging weight (B, 1, N, 1)."""
        x = self.norm(nodes) + self.condition(context)[:, None]
        pair = self.receiver(x)[:, :, None] + self.sender(x)[:, None] + self.geometry(edges)
        message = silu(self.message(silu(pair)))
        received = (message * weight).sum(2)
        return nodes + self.update(torch.cat([x, received], -1)), message


@dataclass(frozen=True)
class Encoding:
    """What message passing makes of a batch.

    ``nodes`` (B, N, H); ``mean`` (B, H) over atoms; ``context`` (B, H); ``message`` (B, N, N, E) of the last
    layer; ``vectors`` (B, N, N, R + 3, 3) of the pairs; ``weight`` (B, 1, N, 1) averages over senders.
    """

    nodes: torch.Tensor
    mean: torch.Tensor
    context: torch.Tensor
    message: torch.Tensor
    vectors: torch.Tensor
    weight: torch.Tensor


class CrystalEncoder(nn.Module):
    """Embeddings and message passing, shared by the denoiser and the critic (not their weights)."""

    elements: torch.Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.config = config
        #: Matrix products in bfloat16: 1.7x faster training where the CPU or GPU supports it.
        self.bfloat16_products = False
        self.species = nn.Embedding(MAX_Z + 1, hidden)
        self.group = nn.Embedding(19, hidden)
        self.period = nn.Embedding(10, hidden)
        self.space_group = nn.Embedding(231, hidden)
        self.family = nn.Embedding(len(FAMILIES), hidden)
        self.stability = nn.Embedding(config.stability_classes, hidden)
        self.n_elements = nn.Embedding(_MOST_ELEMENTS + 1, hidden)
        self.site = nn.Linear(4, hidden)
        self.time = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.cell = nn.Sequential(nn.Linear(N_COORDS + 11, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.pairs = PairFeatures(config.frequencies, config.radial, config.max_distance)
        self.edge = nn.Linear(self.pairs.n_scalars, config.edge)
        self.layers = nn.ModuleList(InteractionLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(hidden)
        self.register_buffer("elements", _element_table(), persistent=False)

    def encode(self, batch: CrystalBatch, seen: NetworkInput) -> Encoding:
        """Run the message passing."""
        context = self._context(batch, seen)
        nodes = self._embed_atoms(batch, seen) + context[:, None]
        geometry = self.pairs(seen.positions, seen.metric)
        weight = (batch.atom_mask / batch.n_atoms[:, None])[:, None, :, None]
        with torch.autocast(seen.t.device.type, torch.bfloat16, enabled=self.bfloat16_products):
            edges = silu(self.edge(geometry.scalars))
            for layer in self.layers:
                nodes, message = layer(nodes, edges, context, weight)
        nodes, message = self.norm(nodes.float()), message.float()
        mean = (nodes * batch.atom_mask[..., None]).sum(1) / batch.n_atoms[:, None]
        return Encoding(nodes, mean, context, message, geometry.vectors, weight)

    def _context(self, batch: CrystalBatch, seen: NetworkInput) -> torch.Tensor:
        """Everything that concerns the crystal as a whole, (B, H)."""
        half = self.config.hidden // 2
        rates = torch.exp(torch.linspace(0, math.log(1000.0), half, device=seen.t.device))
        angles = seen.t[:, None] * rates
        volume = seen.log_volume[:, None]
        shape = seen.metric / torch.exp(volume * 2 / 3)[..., None]
        size = batch.n_atoms[:, None]
        features = [seen.lattice, torch.tanh(shape.flatten(1) / 2), volume - size.log() - 3, size / 10]
        return (
            self.time(torch.cat([angles.sin(), angles.cos()], -1))
            + self.cell(torch.cat(features, -1))
            + self.space_group(batch.space_group)
            + self.family(batch.family)
            + self.stability(seen.stability)
            + self.n_elements(batch.n_elements.clamp(max=_MOST_ELEMENTS))
        )

    def _embed_atoms(self, batch: CrystalBatch, seen: NetworkInput) -> torch.Tensor:
        """Element and site features of each atom, (B, N, H)."""
        group, period = self.elements[seen.species].unbind(-1)
        embedded = self.species(seen.species) + self.group(group) + self.period(period)
        share = (batch.orbit_sizes / batch.n_atoms[:, None])[..., None]
        embedded = embedded + self.site(torch.cat([batch.orbit_free, share], -1))
        return batch.atoms_from_orbits(embedded)


class Denoiser(CrystalEncoder):
    """Predicts lattice velocity, coordinate score and element logits of a noisy crystal."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        hidden = config.hidden
        self.lattice_head = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, N_COORDS))
        self.force_head = nn.Linear(config.edge, self.pairs.n_vectors)
        self.score_head = nn.Linear(hidden, 3, bias=False)
        self.species_head = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, MAX_Z))

    def forward(self, batch: CrystalBatch, seen: NetworkInput) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns lattice (B, 6), displacements of atoms in fractional coordinates (B, N, 3), logits (B, O, MAX_Z)."""
        code = self.encode(batch, seen)
        forces = torch.einsum("bijk,bijkx->bix", self.force_head(code.message) * code.weight, code.vectors)
        orbits = batch.orbit_mean(code.nodes)
        everywhere = code.mean[:, None].expand(-1, orbits.shape[1], -1)
        return (
            self.lattice_head(torch.cat([code.mean, code.context], -1)),
            self.score_head(code.nodes) + forces,
            self.species_head(torch.cat([orbits, everywhere], -1)),
        )
