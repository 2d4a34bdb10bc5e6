"""The critic: which of several crystals will turn out stable, told in milliseconds before anything is relaxed.

A small network of its own sees a finished crystal and predicts the class of its energy above the hull. It
is trained on the same labelled crystals as the denoiser, shaken by some noise, because samples are not
relaxed. Sampling may draw several crystals for each template and keep the one that the critic prefers
(:class:`.sampler.SamplerConfig`), which leaves the distribution of templates as it was. The critic is
no part of the policy: fine-tuning does not change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from matinvent.generators.diffcsp.network import CrystalEncoder, NetworkConfig

if TYPE_CHECKING:
    from matinvent.generators.diffcsp.crystal import CrystalBatch
    from matinvent.generators.diffcsp.network import NetworkInput

#: Classes 1 to this one count as stable: below 0.08 eV/atom (the edge nearest to the usual 0.1).
LAST_STABLE_CLASS = 3


class StabilityCritic(CrystalEncoder):
    """Predicts the energy-above-hull class of a crystal; the class given to it is ignored."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        hidden = config.hidden
        self.head = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, config.stability_classes - 1)
        )

    def forward(self, batch: CrystalBatch, seen: NetworkInput) -> torch.Tensor:
        """Logits of the classes 1, 2, ... (0 is "unknown"), (B, C - 1)."""
        code = self.encode(batch, seen)
        logits: torch.Tensor = self.head(torch.cat([code.mean, code.context], -1))
        return logits

    @torch.no_grad()
    def probability(self, batch: CrystalBatch, seen: NetworkInput) -> torch.Tensor:
        """Probability that a crystal relaxes to a stable one, (B,)."""
        return self(batch, seen).softmax(-1)[:, :LAST_STABLE_CLASS].sum(-1)
