"""Drawing crystals: ancestral denoising on a respaced time grid, with optional Langevin correction.

Few steps suffice because the lattice uses the posterior through a clamped clean estimate, the coordinates
the variance-exploding ancestral step, and the elements unmask independently (predictor-corrector of Song et
al. 2021 on the torus, as in DiffCSP).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from matinvent.errors import Failure
from matinvent.generators.diffcsp.crystal import Crystal, CrystalBatch, collate, decode_structure
from matinvent.generators.diffcsp.lattice import N_COORDS, primitive_metric
from matinvent.generators.diffcsp.network import MASKED
from matinvent.generators.diffcsp.noise import sigma, signal
from matinvent.generators.diffcsp.template import SymmetryTemplate

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.generators.diffcsp.model import DiffCSP, Prediction

#: Energy-above-hull class of stable crystals, the one that generation asks for.
STABLE = 1
#: Bound on the clean estimate of standardised lattice coordinates.
_CLAMP = 5.0


@dataclass(frozen=True)
class SamplerConfig:
    """How crystals are drawn.

    Attributes:
        steps: denoising steps.
        guidance: weight of classifier-free guidance toward ``stability``; 0 turns it off.
        corrector_steps: Langevin steps on the coordinates after each denoising step.
        corrector_snr: signal-to-noise ratio of a Langevin step.
        stability: energy-above-hull class asked for.
        batch_size: crystals denoised at once.
        min_atoms, max_atoms: bounds on the primitive cell; None as the library.
    """

    steps: int = 50
    guidance: float = 0.0
    corrector_steps: int = 0
    corrector_snr: float = 0.4
    stability: int = STABLE
    batch_size: int = 64
    min_atoms: int | None = None
    max_atoms: int | None = None


@dataclass(eq=False)
class _State:
    """Variables of a batch while they are denoised."""

    species: torch.Tensor
    parameters: torch.Tensor
    lattice: torch.Tensor


@torch.no_grad()
def sample(
    model: DiffCSP,
    n: int,
    rng: torch.Generator,
    config: SamplerConfig,
    progress: Callable[[float], None] | None = None,
) -> list[Structure | Failure]:
    """Draw n crystals from a model; rng lives on the CPU, the result has the order of the drawn templates."""
    model.eval()
    templates = model.library.draw(n, rng, config.min_atoms, config.max_atoms)
    by_size = sorted(range(n), key=lambda i: templates[i].n_atoms)
    results: list[Structure | Failure] = [Failure("not-sampled", "never drawn")] * n
    for start in range(0, n, config.batch_size):
        chosen = by_size[start : start + config.batch_size]

        def report(share: float, start: int = start, size: int = len(chosen)) -> None:
            if progress is not None:
                progress((start + share * size) / n)

        drawn = _sample_batch(model, [templates[i] for i in chosen], rng, config, report)
        for i, structure in zip(chosen, drawn, strict=True):
            results[i] = structure
    return results


def _sample_batch(
    model: DiffCSP,
    templates: list[SymmetryTemplate],
    rng: torch.Generator,
    config: SamplerConfig,
    report: Callable[[float], None],
) -> list[Structure | Failure]:
    batch = collate([_blank(template) for template in templates]).to(model.device)
    state = _State(
        species=torch.full_like(batch.species, MASKED),
        parameters=_rand(batch.parameters, rng) * batch.orbit_free,
        lattice=_randn(batch.lattice, rng) * batch.lattice_free,
    )
    grid = torch.linspace(1, 0, config.steps + 1)
    for step in range(config.steps):
        now = grid[step].expand(len(batch)).to(model.device)
        after = grid[step + 1].expand(len(batch)).to(model.device)
        _denoise_step(model, batch, state, now, after, rng, config)
        if step + 1 < config.steps:
            for _ in range(config.corrector_steps):
                _langevin_step(model, batch, state, after, rng, config)
        report((step + 1) / config.steps)
    metric = primitive_metric(model.unstandardise(batch, state.lattice).double(), batch.centring.double())
    values = zip(
        templates,
        (state.species + 1).cpu().numpy(),
        state.parameters.cpu().double().numpy(),
        metric.cpu().numpy(),
        strict=True,
    )
    return [decode_structure(t, z[: t.n_orbits], u[: t.n_orbits], g) for t, z, u, g in values]


def _predict(model: DiffCSP, batch: CrystalBatch, state: _State, t: torch.Tensor, config: SamplerConfig) -> Prediction:
    wanted = torch.full_like(batch.stability, config.stability)
    prediction = model.denoise(batch, t, state.species, state.parameters, state.lattice, wanted)
    if not config.guidance:
        return prediction
    unknown = torch.zeros_like(wanted)
    unconditional = model.denoise(batch, t, state.species, state.parameters, state.lattice, unknown)
    return prediction.guided(unconditional, config.guidance)


def _denoise_step(
    model: DiffCSP,
    batch: CrystalBatch,
    state: _State,
    now: torch.Tensor,
    after: torch.Tensor,
    rng: torch.Generator,
    config: SamplerConfig,
) -> None:
    """Move all variables from noise level ``now`` to ``after`` (both (B,)) in place."""
    prediction = _predict(model, batch, state, now, config)
    state.lattice = _lattice_posterior(state.lattice, prediction.velocity, now, after, rng) * batch.lattice_free
    drop = (sigma(now) ** 2 - sigma(after) ** 2)[:, None, None]
    noise = (sigma(after) / sigma(now))[:, None, None] * drop.sqrt() * _randn(state.parameters, rng)
    score = prediction.score * model.score_scale(now)[:, None, None]
    state.parameters = (state.parameters + (drop * score + noise) * batch.orbit_free) % 1.0
    state.species = _unmask(state.species, prediction.logits, ((now - after) / now)[:, None], rng)


def _lattice_posterior(
    x: torch.Tensor, velocity: torch.Tensor, now: torch.Tensor, after: torch.Tensor, rng: torch.Generator
) -> torch.Tensor:
    """Draw from q(x_after | x_now, clean estimate) of the variance-preserving process."""
    a_now, a_after = signal(now)[:, None], signal(after)[:, None]
    ratio = a_now / a_after
    clean = (a_now.sqrt() * x - (1 - a_now).sqrt() * velocity).clamp(-_CLAMP, _CLAMP)
    mean = (a_after.sqrt() * (1 - ratio) * clean + ratio.sqrt() * (1 - a_after) * x) / (1 - a_now)
    variance = ((1 - a_after) / (1 - a_now) * (1 - ratio)).clamp(min=0)
    return mean + variance.sqrt() * _randn(x, rng)


def _unmask(species: torch.Tensor, logits: torch.Tensor, share: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Reveal each masked orbit with probability ``share``, its element drawn from the logits."""
    drawn = _categorical(logits, rng)
    reveal = (species == MASKED) & (_rand(species.float(), rng) < share)
    return torch.where(reveal, drawn, species)


def _categorical(logits: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Gumbel-max draw over the last dimension."""
    uniform = _rand(logits, rng).clamp(1e-9, 1 - 1e-7)
    return (logits - (-uniform.log()).log()).argmax(-1)


def _langevin_step(
    model: DiffCSP,
    batch: CrystalBatch,
    state: _State,
    t: torch.Tensor,
    rng: torch.Generator,
    config: SamplerConfig,
) -> None:
    """One Langevin step of the coordinates at fixed t, its size set by the score's scale."""
    prediction = _predict(model, batch, state, t, config)
    scale = model.score_scale(t)[:, None, None]
    step = 0.5 * (config.corrector_snr * sigma(t)[:, None, None]) ** 2
    noise = (2 * step).sqrt() * _randn(state.parameters, rng)
    state.parameters = (state.parameters + (step * prediction.score * scale + noise) * batch.orbit_free) % 1.0


def _blank(template: SymmetryTemplate) -> Crystal:
    """A crystal of which only the template counts."""
    orbits = template.n_orbits
    return Crystal(template, np.ones(orbits, dtype=int), np.zeros((orbits, 3)), np.zeros(N_COORDS))


def _randn(like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=rng).to(like.device)


def _rand(like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return torch.rand(like.shape, generator=rng).to(like.device)
