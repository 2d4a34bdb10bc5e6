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
from matinvent.generators.diffcsp.critic import StabilityCritic
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
from matinvent.generators.diffcsp.seen import SeenFormulas
from matinvent.generators.diffcsp.tilt import (
    NO_ENTRY,
    TemplateTilt,
    TiltConfig,
    template_divergence,
    template_loss,
)

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

    ``velocity`` (B, 6) lattice; ``score`` (B, O, 3) scaled coordinate score; ``logits`` (B, O, MAX_Z);
    ``templates`` (T,) log-probabilities of the library's templates where these are learned.
    """

    velocity: torch.Tensor
    score: torch.Tensor
    logits: torch.Tensor
    templates: torch.Tensor | None = None

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
        tilt_config: whether and how the distribution of templates is learned.
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
        tilt_config: TiltConfig | None = None,
        name: str = "diffcsp",
    ) -> None:
        super().__init__()
        self.name = name
        self.library = library
        self.max_atoms = max_atoms
        self.sampler = sampler or SamplerConfig()
        self.tilt_config = tilt_config or TiltConfig()
        self.tilt = TemplateTilt(library)
        self.denoiser = Denoiser(network)
        self.critic: StabilityCritic | None = None
        #: What the model was trained on; sampling prefers other formulas.
        self.seen: SeenFormulas | None = None
        self.score_scale = ScoreScale()
        self.register_buffer("lattice_mean", torch.zeros(N_COORDS) if lattice_mean is None else lattice_mean)
        self.register_buffer("lattice_std", torch.ones(N_COORDS) if lattice_std is None else lattice_std)

    def adopt(self, critic: StabilityCritic) -> None:
        """Let a trained critic judge samples; its weights are frozen."""
        self.critic = critic.requires_grad_(False).eval()

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
        return [c if isinstance(c, Failure) else replace(c, stability=STABLE, entry=self._entry(c)) for c in encoded]

    def _entry(self, crystal: Crystal) -> int:
        """Where the library holds a crystal's template; looked up only where templates are learned."""
        found = self.library.find(crystal.template) if self.tilt_config.enabled else None
        return NO_ENTRY if found is None else found

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
        batch = noisy.clean
        seen = self.view(batch, noisy.t, noisy.species, noisy.parameters, noisy.lattice, batch.stability)
        prediction = self.denoise(batch, seen)
        if not self.tilt_config.enabled:
            return prediction
        return replace(prediction, templates=self.tilt.log_probability(self.tilt_config.rate))

    def denoise(self, batch: CrystalBatch, seen: NetworkInput) -> Prediction:
        """Predict from a :meth:`view`; only the templates of ``batch`` are read, not its values."""
        velocity, displacements, logits = self.denoiser(batch, seen)
        along = torch.einsum("bnxk,bnx->bnk", batch.inverse_directions, displacements)
        return Prediction(velocity * batch.lattice_free, batch.orbit_mean(along) * batch.orbit_free, logits)

    def view(
        self,
        batch: CrystalBatch,
        t: torch.Tensor,
        species: torch.Tensor,
        parameters: torch.Tensor,
        lattice: torch.Tensor,
        stability: torch.Tensor,
    ) -> NetworkInput:
        """What a network is shown of the given variables (lattice standardised) in the templates of a batch."""
        real = self.unstandardise(batch, lattice)
        return NetworkInput(
            species=species,
            positions=batch.positions(parameters),
            lattice=lattice,
            metric=primitive_metric(real, batch.centring),
            log_volume=log_volume(real) - batch.cells.log(),
            t=t,
            stability=stability,
        )

    def loss(self, noisy: NoisyBatch, prediction: Prediction) -> torch.Tensor:
        """Denoising loss of each crystal, (B,): the sum of its :meth:`loss_terms` and that of its template."""
        loss = self.loss_terms(noisy, prediction).sum(-1)
        if prediction.templates is None:
            return loss
        return loss + template_loss(prediction.templates, self.tilt.log_prior, noisy.clean.entry)

    def loss_terms(self, noisy: NoisyBatch, prediction: Prediction) -> torch.Tensor:
        """Squared error of lattice and of coordinates, cross-entropy of masked orbits; (B, 3)."""
        batch = noisy.clean
        lattice = _mean((prediction.velocity - noisy.velocity) ** 2, batch.lattice_free)
        coordinates = _mean((prediction.score - noisy.score) ** 2, batch.orbit_free)
        entropy = cross_entropy(prediction.logits.transpose(1, 2), batch.species, reduction="none")
        return torch.stack([lattice, coordinates, _mean(entropy, noisy.masked)], -1)

    def divergence(
        self, noisy: NoisyBatch, prediction: Prediction, reference: Prediction, kind: str = "kl"
    ) -> torch.Tensor:
        """Divergence of two predictions on one noisy batch, (B,).

        ``paper``: mean squared difference of the outputs. ``kl``: rate of the Kullback-Leibler
        divergence between the two reverse processes in nats, so that its mean over uniform t
        is the divergence of whole denoising trajectories (for coordinates an upper bound, because wrapping
        onto the torus can only lose information).
        Where templates are learned, the divergence of their distributions is added to both.
        """
        diffusion = self._diffusion_divergence(noisy, prediction, reference, kind)
        if prediction.templates is None or reference.templates is None:
            return diffusion
        return diffusion + self.tilt_config.divergence * template_divergence(prediction.templates, reference.templates)

    def _diffusion_divergence(
        self, noisy: NoisyBatch, prediction: Prediction, reference: Prediction, kind: str
    ) -> torch.Tensor:
        """Divergence of lattice, coordinates and elements, (B,)."""
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
