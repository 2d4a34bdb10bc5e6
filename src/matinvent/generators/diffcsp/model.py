"""The DiffCSP-style generator: one diffusion model for symmetric and template-free crystals.

Implements :class:`matinvent.generators.protocol.Generator`. The symmetric variant (DiffCSP++, Jiao et al.
2024) and the template-free one (DiffCSP, Jiao et al. 2023) differ only in the templates that the
library holds and that :meth:`DiffCSP.encode` finds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from matinvent.errors import Failure
from matinvent.generators.diffcsp.crystal import Crystal, CrystalBatch, collate, encode_structure
from matinvent.generators.diffcsp.lattice import N_COORDS, log_volume, primitive_metric
from matinvent.generators.diffcsp.library import TemplateLibrary
from matinvent.generators.diffcsp.network import MASKED, Denoiser, NetworkConfig, NetworkInput
from matinvent.generators.diffcsp.noise import (
    SIGMA_MAX,
    SIGMA_MIN,
    ScoreScale,
    sigma,
    signal,
    signal_loss_rate,
    wrapped_score,
)
from matinvent.generators.diffcsp.sampler import STABLE, SamplerConfig, sample

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True, eq=False)
class NoisyBatch:
    """A batch at noise levels t (B,) with what the network is to predict.

    ``species`` (B, O) with MASKED entries, ``parameters`` (B, O, 3), ``lattice`` (B, 6) standardised;
    targets ``velocity`` (B, 6), ``score`` (B, O, 3) scaled to unit size, ``masked`` (B, O) in {0, 1}.
    """

    clean: CrystalBatch
    t: torch.Tensor
    species: torch.Tensor
    parameters: torch.Tensor
    lattice: torch.Tensor
    velocity: torch.Tensor
    score: torch.Tensor
    masked: torch.Tensor


@dataclass(frozen=True, eq=False)
class Prediction:
    """Network output in the template's own variables.

    ``velocity`` (B, 6) lattice; ``score`` (B, O, 3) scaled coordinate score; ``logits`` (B, O, MAX_Z).
    """

    velocity: torch.Tensor
    score: torch.Tensor
    logits: torch.Tensor

    def guided(self, unconditional: Prediction, weight: float) -> Prediction:
        """Classifier-free guidance (Ho and Salimans 2022): move away from the unconditional output."""
        pairs = ((getattr(self, name), getattr(unconditional, name)) for name in ("velocity", "score", "logits"))
        return Prediction(*(with_class + weight * (with_class - without) for with_class, without in pairs))


class DiffCSP(nn.Module):
    """Joint diffusion of lattice, coordinates and elements.

    Args:
        network: sizes of the denoiser.
        library: templates to sample from.
        max_atoms: largest primitive cell that is encoded.
        lattice_mean, lattice_std: (6,) statistics of the lattice coordinates in the training data.
        sampler: how crystals are drawn unless asked otherwise.
        name: shown in reports.
    """

    lattice_mean: torch.Tensor
    lattice_std: torch.Tensor

    def __init__(
        self,
        network: NetworkConfig,
        library: TemplateLibrary,
        max_atoms: int = 20,
        lattice_mean: torch.Tensor | None = None,
        lattice_std: torch.Tensor | None = None,
        sampler: SamplerConfig | None = None,
        name: str = "diffcsp",
    ) -> None:
        super().__init__()
        self.name = name
        self.library = library
        self.max_atoms = max_atoms
        self.sampler = sampler or SamplerConfig()
        self.denoiser = Denoiser(network)
        self.score_scale = ScoreScale()
        self.register_buffer("lattice_mean", torch.zeros(N_COORDS) if lattice_mean is None else lattice_mean)
        self.register_buffer("lattice_std", torch.ones(N_COORDS) if lattice_std is None else lattice_std)

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.lattice_mean.device

    @property
    def symmetric(self) -> bool:
        """Whether the library holds symmetry templates."""
        return bool((self.library.space_groups > 0).any())

    def clone(self) -> DiffCSP:
        """An independent copy with equal weights."""
        return copy.deepcopy(self)

    def encode(self, structures: Sequence[Structure]) -> list[Crystal | Failure]:
        """Symmetry template and free variables of each structure; Failure for what does not fit."""
        encoded = [encode_structure(s, self.max_atoms, self.symmetric) for s in structures]
        return [c if isinstance(c, Failure) else replace(c, stability=STABLE) for c in encoded]

    def size(self, item: Crystal) -> int:
        """Atoms of an encoded crystal."""
        return item.template.n_atoms

    def collate(self, items: Sequence[Crystal]) -> CrystalBatch:
        """One padded batch on the model's device."""
        return collate(items).to(self.device)

    def sample(
        self, n: int, rng: torch.Generator, progress: Callable[[float], None] | None = None
    ) -> list[Structure | Failure]:
        """Draw n crystals with the model's sampler settings (see :mod:`.sampler`)."""
        return sample(self, n, rng, self.sampler, progress)

    def standardise(self, batch: CrystalBatch, lattice: torch.Tensor) -> torch.Tensor:
        """Lattice coordinates (B, 6) with volume per atom and unit variance; 0 where not free."""
        return (self._per_atom(batch, lattice, -1) - self.lattice_mean) / self.lattice_std * batch.lattice_free

    def unstandardise(self, batch: CrystalBatch, lattice: torch.Tensor) -> torch.Tensor:
        """Inverse of :meth:`standardise`, with the fixed coordinates of each family filled in."""
        real = self._per_atom(batch, lattice * self.lattice_std + self.lattice_mean, +1)
        return torch.where(batch.lattice_free > 0, real, batch.lattice_fixed)

    @staticmethod
    def _per_atom(batch: CrystalBatch, lattice: torch.Tensor, sign: int) -> torch.Tensor:
        """Shift the volume coordinate by the log of the atoms in the conventional cell."""
        shift = torch.zeros_like(lattice)
        shift[:, -1] = sign * (batch.n_atoms * batch.cells).log() / 3
        return lattice + shift

    def draw_noise(self, batch: CrystalBatch, t: torch.Tensor, rng: torch.Generator) -> NoisyBatch:
        """Noise each crystal to its own level t, shape (B,), in (0, 1]; rng lives on the CPU."""

        def normal(like: torch.Tensor) -> torch.Tensor:
            return torch.randn(like.shape, generator=rng).to(self.device)

        power = signal(t)[:, None]
        clean = self.standardise(batch, batch.lattice)
        noise = normal(clean) * batch.lattice_free
        width = sigma(t)[:, None, None].expand_as(batch.parameters)
        shift = normal(batch.parameters) * width * batch.orbit_free
        scale = self.score_scale(t)[:, None, None]
        draws = torch.rand(batch.species.shape, generator=rng).to(self.device)
        masked = ((draws < t[:, None]) & (batch.orbit_mask > 0)).float()
        return NoisyBatch(
            clean=batch,
            t=t,
            species=torch.where(masked > 0, MASKED, batch.species),
            parameters=(batch.parameters + shift) % 1.0,
            lattice=power.sqrt() * clean + (1 - power).sqrt() * noise,
            velocity=power.sqrt() * noise - (1 - power).sqrt() * clean,
            score=wrapped_score(shift, width) / scale * batch.orbit_free,
            masked=masked,
        )

    def predict(self, noisy: NoisyBatch) -> Prediction:
        """One pass of the network, projected on the free variables of each template."""
        return self.denoise(noisy.clean, noisy.t, noisy.species, noisy.parameters, noisy.lattice)

    def denoise(
        self,
        batch: CrystalBatch,
        t: torch.Tensor,
        species: torch.Tensor,
        parameters: torch.Tensor,
        lattice: torch.Tensor,
        stability: torch.Tensor | None = None,
    ) -> Prediction:
        """Predict from noisy variables; only the templates of ``batch`` are read, not its values."""
        real = self.unstandardise(batch, lattice)
        seen = NetworkInput(
            species=species,
            positions=batch.positions(parameters),
            lattice=lattice,
            metric=primitive_metric(real, batch.centring),
            log_volume=log_volume(real) - batch.cells.log(),
            t=t,
            stability=batch.stability if stability is None else stability,
        )
        velocity, covectors, logits = self.denoiser(batch, seen)
        # The gradient by an orbit parameter is the mean over the orbit of covector . displacement.
        along = torch.einsum("bnkx,bnx->bnk", batch.directions, covectors)
        return Prediction(velocity * batch.lattice_free, batch.orbit_mean(along) * batch.orbit_free, logits)

    def loss(self, noisy: NoisyBatch, prediction: Prediction) -> torch.Tensor:
        """Denoising loss of each crystal, (B,): mean squared errors plus cross-entropy of masked orbits."""
        batch = noisy.clean
        lattice = _mean((prediction.velocity - noisy.velocity) ** 2, batch.lattice_free)
        coordinates = _mean((prediction.score - noisy.score) ** 2, batch.orbit_free)
        entropy = cross_entropy(prediction.logits.transpose(1, 2), batch.species, reduction="none")
        return lattice + coordinates + _mean(entropy, noisy.masked)

    def divergence(
        self, noisy: NoisyBatch, prediction: Prediction, reference: Prediction, kind: str = "kl"
    ) -> torch.Tensor:
        """Divergence of two predictions on one noisy batch, (B,).

        ``paper``: mean squared difference of the outputs. ``kl``: rate of the Kullback-Leibler
        divergence between the two reverse processes in nats, so that its mean over uniform t
        is the divergence of whole denoising trajectories (for coordinates an upper bound, because wrapping
        onto the torus can only lose information).
        """
        batch = noisy.clean
        velocity = (prediction.velocity - reference.velocity) ** 2 * batch.lattice_free
        score = (prediction.score - reference.score) ** 2 * batch.orbit_free
        log_p, log_q = prediction.logits.log_softmax(-1), reference.logits.log_softmax(-1)
        if kind == "paper":
            probability = ((log_p.exp() - log_q.exp()) ** 2).sum(-1)
            return (
                _mean(velocity, batch.lattice_free) + _mean(score, batch.orbit_free) + _mean(probability, noisy.masked)
            )
        categorical = ((log_p.exp() * (log_p - log_q)).sum(-1) * noisy.masked).sum(1).clamp(min=0) / noisy.t
        scale = self.score_scale(noisy.t)
        drift = sigma(noisy.t) ** 2 * math.log(SIGMA_MAX / SIGMA_MIN) * scale**2
        gaussian = 0.5 * signal_loss_rate(noisy.t) / (1 - signal(noisy.t)).clamp(min=1e-3)
        return gaussian * velocity.sum(1) + drift * score.sum((1, 2)) + categorical


def _mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of masked values over all but the first dimension, (B,); 0 where nothing is masked in."""
    dims = tuple(range(1, values.dim()))
    return (values * mask).sum(dims) / mask.sum(dims).clamp(min=1)
