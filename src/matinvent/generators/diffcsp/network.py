"""The denoising network: message passing over all atom pairs of the primitive cell.

After CSPNet (DiffCSP, Jiao et al. 2023): edges see Fourier features of fractional differences, which
are invariant to lattice translations. Ours adds interatomic distances from the metric, an explicit
pairwise-force term for coordinates, element features by group and period, and pooling over symmetry orbits.
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
from matinvent.generators.diffcsp.lattice import FAMILIES, N_COORDS
from matinvent.generators.diffcsp.noise import wrap

#: Element index of a masked orbit.
MASKED = MAX_Z


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; stored with every checkpoint."""

    hidden: int = 192
    edge: int = 96
    layers: int = 6
    frequencies: int = 12
    radial: int = 16
    max_distance: float = 8.0
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


class Denoiser(nn.Module):
    """Predicts lattice velocity, coordinate score and element logits of a noisy crystal."""

    frequencies: torch.Tensor
    centres: torch.Tensor
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
        self.site = nn.Linear(4, hidden)
        self.time = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.cell = nn.Sequential(nn.Linear(N_COORDS + 11, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.edge = nn.Linear(6 * config.frequencies + config.radial, config.edge)
        self.layers = nn.ModuleList(InteractionLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(hidden)
        self.lattice_head = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, N_COORDS))
        self.force_head = nn.Linear(config.edge, 3)
        self.score_head = nn.Linear(hidden, 3, bias=False)
        self.species_head = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, MAX_Z))
        self.register_buffer(
            "frequencies", 2 * math.pi * torch.arange(1, config.frequencies + 1).float(), persistent=False
        )
        self.register_buffer("centres", torch.linspace(0, config.max_distance, config.radial), persistent=False)
        self.register_buffer("elements", _element_table(), persistent=False)

    def forward(self, batch: CrystalBatch, seen: NetworkInput) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns lattice (B, 6), atom covectors in fractional coordinates (B, N, 3), logits (B, O, MAX_Z)."""
        context = self._context(batch, seen)
        nodes = self._embed_atoms(batch, seen) + context[:, None]
        difference = wrap(seen.positions[:, None] - seen.positions[:, :, None])
        geometry, sines = self._pair_geometry(difference, seen.metric)
        weight = (batch.atom_mask / batch.n_atoms[:, None])[:, None, :, None]
        with torch.autocast(seen.t.device.type, torch.bfloat16, enabled=self.bfloat16_products):
            edges = silu(self.edge(geometry))
            for layer in self.layers:
                nodes, message = layer(nodes, edges, context, weight)
        nodes, message = self.norm(nodes.float()), message.float()
        mean = (nodes * batch.atom_mask[..., None]).sum(1) / batch.n_atoms[:, None]
        forces = ((self.force_head(message) * weight)[..., None, :] * sines).sum((2, -1))
        orbits = batch.orbit_mean(nodes)
        everywhere = mean[:, None].expand(-1, orbits.shape[1], -1)
        return (
            self.lattice_head(torch.cat([mean, context], -1)),
            self.score_head(nodes) + forces,
            self.species_head(torch.cat([orbits, everywhere], -1)),
        )

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
        )

    def _embed_atoms(self, batch: CrystalBatch, seen: NetworkInput) -> torch.Tensor:
        """Element and site features of each atom, (B, N, H)."""
        group, period = self.elements[seen.species].unbind(-1)
        embedded = self.species(seen.species) + self.group(group) + self.period(period)
        count = torch.zeros_like(batch.orbit_mask).scatter_add(1, batch.orbit, batch.atom_mask)
        share = (count / batch.n_atoms[:, None])[..., None]
        embedded = embedded + self.site(torch.cat([batch.orbit_free, share], -1))
        return batch.atoms_from_orbits(embedded)

    def _pair_geometry(self, difference: torch.Tensor, metric: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Invariant features of atom pairs (B, N, N, G) and the sines that carry directions, (B, N, N, 3, 3)."""
        angles = difference[..., None] * self.frequencies
        sines, cosines = angles.sin(), angles.cos()
        squared = torch.einsum("bijx,bxy,bijy->bij", difference, metric, difference)
        distance = squared.clamp(min=1e-8).sqrt()[..., None]
        spacing = self.config.max_distance / self.config.radial
        radial = torch.exp(-(((distance - self.centres) / spacing) ** 2))
        return torch.cat([sines.flatten(-2), cosines.flatten(-2), radial], -1), sines[..., :3]
