"""A toy world with a known optimum: one-atom cubic crystals and an exactly solvable diffusion model.

A toy crystal is a simple cubic cell of one element. Its log lattice parameter is x ~ N(mean, width^2) and its
element is categorical; for such data the optimal denoiser has a closed form, so the "network" is the
three parameters themselves, sampling is exact, and a whole campaign takes seconds. Density rises
monotonically as the cell shrinks and the element gets heavier, so the optimum is known.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from pymatgen.core import Lattice, Structure
from torch import nn

from matinvent.errors import Failure

if TYPE_CHECKING:
    from matinvent.config import GeneratorConfig

ELEMENTS = ("Li", "Mg", "Al", "Ca", "Ti", "Fe", "Cu", "Zr", "Ag", "W", "Pt", "Au")
#: Log lattice parameter (A) of the prior: about 3.2 A, and its spread.
PRIOR_MEAN = float(np.log(3.2))
PRIOR_WIDTH = 0.12


@dataclass(frozen=True)
class ToyBatch:
    """``x`` (B,) standardised log lattice parameters, ``element`` (B,) indices into ELEMENTS."""

    x: torch.Tensor
    element: torch.Tensor


@dataclass(frozen=True)
class ToyNoisy:
    """A batch at noise levels t: ``x`` noisy, ``masked`` 1 where the element is hidden."""

    clean: ToyBatch
    t: torch.Tensor
    x: torch.Tensor
    masked: torch.Tensor


@dataclass(frozen=True)
class ToyPrediction:
    """Posterior mean of the clean x, (B,), and log-probabilities of the element, (B, E)."""

    x: torch.Tensor
    log_probability: torch.Tensor


class ToyGenerator(nn.Module):
    """Exact diffusion model of cubic one-atom crystals."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "toy"
        self.mean = nn.Parameter(torch.zeros(()))
        self.log_width = nn.Parameter(torch.zeros(()))
        self.logits = nn.Parameter(torch.zeros(len(ELEMENTS)))

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.mean.device

    def clone(self) -> ToyGenerator:
        """An independent copy."""
        return copy.deepcopy(self)

    @torch.no_grad()
    def sample(
        self, n: int, rng: torch.Generator, progress: Callable[[float], None] | None = None
    ) -> list[Structure | Failure]:
        """Draw n crystals from the exact model distribution."""
        x = self.mean + self.log_width.exp() * torch.randn(n, generator=rng)
        element = torch.multinomial(self.logits.softmax(0), n, replacement=True, generator=rng)
        if progress is not None:
            progress(1.0)
        return [_decode(float(a), int(e)) for a, e in zip(x, element, strict=True)]

    def encode(self, structures: Sequence[Structure]) -> list[tuple[float, int] | Failure]:
        """Standardised log lattice parameter and element; Failure for anything but a toy crystal."""
        return [_encode(structure) for structure in structures]

    def size(self, item: tuple[float, int]) -> int:  # noqa: ARG002 (part of the protocol)
        """Every toy crystal has one atom."""
        return 1

    def collate(self, items: Sequence[tuple[float, int]]) -> ToyBatch:
        """Stack encoded crystals."""
        return ToyBatch(torch.tensor([x for x, _ in items]), torch.tensor([e for _, e in items]))

    def draw_noise(self, batch: ToyBatch, t: torch.Tensor, rng: torch.Generator) -> ToyNoisy:
        """x_t = sqrt(1 - t^2) x + t eps; the element is hidden with probability t."""
        noise = torch.randn(len(t), generator=rng)
        masked = (torch.rand(len(t), generator=rng) < t).float()
        return ToyNoisy(batch, t, (1 - t**2).sqrt() * batch.x + t * noise, masked)

    def predict(self, noisy: ToyNoisy) -> ToyPrediction:
        """Bayes' rule for Gaussian data: the posterior mean of x given x_t."""
        signal, variance = (1 - noisy.t**2).sqrt(), (2 * self.log_width).exp()
        gain = signal * variance / (signal**2 * variance + noisy.t**2)
        x = self.mean + gain * (noisy.x - signal * self.mean)
        return ToyPrediction(x, self.logits.log_softmax(0).expand(len(noisy.t), -1))

    def loss(self, noisy: ToyNoisy, prediction: ToyPrediction) -> torch.Tensor:
        """Squared error of x plus cross-entropy of hidden elements, (B,)."""
        entropy = -prediction.log_probability.gather(1, noisy.clean.element[:, None])[:, 0]
        return (prediction.x - noisy.clean.x) ** 2 + entropy * noisy.masked

    def divergence(
        self, noisy: ToyNoisy, prediction: ToyPrediction, reference: ToyPrediction, kind: str = "kl"
    ) -> torch.Tensor:
        """Squared difference of x plus the categorical term of the given kind, (B,)."""
        p, q = prediction.log_probability, reference.log_probability
        categorical = (p.exp() * (p - q)).sum(1) if kind == "kl" else ((p.exp() - q.exp()) ** 2).sum(1)
        return (prediction.x - reference.x) ** 2 + categorical.clamp(min=0) * noisy.masked


def make_generator(_config: GeneratorConfig) -> ToyGenerator:
    """Factory for ``generator.prior: matinvent.testing.toy:make_generator``."""
    return ToyGenerator()


def _decode(x: float, element: int) -> Structure:
    edge = float(np.exp(PRIOR_MEAN + PRIOR_WIDTH * x))
    return Structure(Lattice.cubic(edge), [ELEMENTS[element]], [[0, 0, 0]])


def _encode(structure: Structure) -> tuple[float, int] | Failure:
    symbols = [site.species_string for site in structure]
    if len(symbols) != 1 or symbols[0] not in ELEMENTS:
        return Failure("not-a-toy", "toy crystals have one atom of a toy element")
    x = (np.log(structure.volume) / 3 - PRIOR_MEAN) / PRIOR_WIDTH
    return float(x), ELEMENTS.index(symbols[0])
