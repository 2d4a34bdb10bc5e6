"""The tilt: a learnable factor on the template library's distribution, so that templates are part of the policy.

A crystal is drawn as template first, content second: p(x) = p(T) p(x | T). The diffusion model is p(x | T);
here p(T) = q(T) exp(w_T) / Z, with q the library's distribution and w_T a sum of terms that templates share
(space group, numbers of atoms and orbits) and one of its own. Both log p(x) and the divergence to the prior are
sums over the two factors, so the reward-weighted objective of the paper applies to the tilt unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from matinvent.generators.diffcsp.library import TemplateLibrary

#: Entry of a crystal whose template the library lacks.
NO_ENTRY = -1


@dataclass(frozen=True)
class TiltConfig:
    """How the distribution of templates is learned.

    Attributes:
        enabled: learn it; otherwise templates keep the library's distribution.
        rate: factor on the tilt's learning rate; its weights are few and their gradients plain.
        divergence: factor on the divergence of the templates, beside that of the diffusion; with the default sigma of
            0.025 this one lets frequent templates become some ten times as frequent, not the only ones.
    """

    enabled: bool = False
    rate: float = 15.0
    divergence: float = 50.0


class TemplateTilt(nn.Module):
    """Log-factors on the weights of a library's T templates, zero at first.

    Args:
        library: the templates.
    """

    features: torch.Tensor
    log_prior: torch.Tensor

    def __init__(self, library: TemplateLibrary) -> None:
        super().__init__()
        columns = (library.space_groups, library.n_atoms, library.n_orbits, np.arange(len(library)))
        values = [torch.from_numpy(column.astype(np.int64)) for column in columns]
        starts = torch.tensor([0, *(int(v.max()) + 1 for v in values[:-1])]).cumsum(0)
        self.register_buffer("features", torch.stack(values, 1) + starts, persistent=False)
        self.weight = nn.Parameter(torch.zeros(int(self.features.max()) + 1))
        counts = torch.as_tensor(library.counts.sum(1), dtype=torch.float32)
        self.register_buffer("log_prior", (counts / counts.sum()).log(), persistent=False)

    def forward(self, rate: float = 1.0) -> torch.Tensor:
        """Log-factor of each template, (T,)."""
        return rate * self.weight[self.features].sum(1)

    def log_probability(self, rate: float = 1.0) -> torch.Tensor:
        """Log-probability of each template, (T,)."""
        return (self.log_prior + self.forward(rate)).log_softmax(0)


def template_loss(log_probability: torch.Tensor, log_prior: torch.Tensor, entry: torch.Tensor) -> torch.Tensor:
    """-log p(T) / q(T) of each crystal, (B,); 0 for a template that the library lacks.

    Args:
        log_probability: log p, (T,).
        log_prior: log q, (T,).
        entry: template of each crystal, (B,), or :data:`NO_ENTRY`.
    """
    known = entry != NO_ENTRY
    ratio = log_prior - log_probability
    return torch.where(known, ratio[entry.clamp(min=0)], ratio.new_zeros(()))


def template_divergence(log_probability: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of two distributions over templates in nats, scalar."""
    return (log_probability.exp() * (log_probability - reference)).sum().clamp(min=0)
