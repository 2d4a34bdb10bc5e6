"""Drawing crystals: ancestral denoising on a respaced time grid, with optional Langevin correction.

Few steps suffice because the lattice uses the posterior through a clamped clean estimate, the coordinates
the variance-exploding ancestral step (predictor-corrector of Song et al. 2021 on the torus, as in DiffCSP), and
the orbits unmask at random times, one after the other, so that the wanted number of elements is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from matinvent.config_screening import ValidityConfig
from matinvent.errors import Failure
from matinvent.generators.diffcsp.charges import choose_balanced
from matinvent.generators.diffcsp.crystal import MAX_Z, Crystal, CrystalBatch, collate, decode_structure
from matinvent.generators.diffcsp.elements import ElementRules
from matinvent.generators.diffcsp.lattice import N_COORDS, primitive_metric
from matinvent.generators.diffcsp.library import Blueprint, TemplateFilter
from matinvent.generators.diffcsp.network import MASKED, supports_bfloat16
from matinvent.generators.diffcsp.noise import sigma, signal
from matinvent.screening.validity import check_charges, check_validity

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.generators.diffcsp.model import DiffCSP, Prediction
    from matinvent.generators.diffcsp.seen import SeenFormulas

#: Energy-above-hull class of stable crystals, the one that generation asks for.
STABLE = 1
#: Crystals denoised at once on a CPU and on a GPU.
_BATCH = (32, 512)

#: What the best of several candidates must pass first: geometry and balanced charges.
_VALIDITY = ValidityConfig()
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
        batch_size: crystals denoised at once, of similar size; None: few on a CPU, where padding costs time.
        bfloat16: matrix products of the denoiser in bfloat16 where the processor has it; two thirds of the time.
        candidates: crystals drawn for each one asked for, of one template; the best is kept (:func:`choose`).
        templates: which symmetry templates to draw; all of the library by default.
        elements: which elements crystals may and must have.
        balanced: the last orbit of a crystal takes an element with which the charges balance, if one of the likely
            ones does.
        alloys: mixtures of metals count as balanced.
    """

    steps: int = 50
    guidance: float = 0.0
    corrector_steps: int = 0
    corrector_snr: float = 0.4
    stability: int = STABLE
    batch_size: int | None = None
    bfloat16: bool = False
    candidates: int = 1
    templates: TemplateFilter = field(default_factory=TemplateFilter)
    elements: ElementRules = field(default_factory=ElementRules)
    balanced: bool = True
    alloys: bool = True


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
    tilt = model.tilt(model.tilt_config.rate).cpu() if model.tilt_config.enabled else None
    blueprints = model.library.draw(n, rng, config.templates, tilt)
    by_size = sorted(range(n), key=lambda i: blueprints[i].template.n_atoms)
    results: list[Structure | Failure] = [Failure("not-sampled", "never drawn")] * n
    at_once = max(1, (config.batch_size or _BATCH[model.device.type == "cuda"]) // config.candidates)
    for start in range(0, n, at_once):
        chosen = by_size[start : start + at_once]

        def report(share: float, start: int = start, size: int = len(chosen)) -> None:
            if progress is not None:
                progress((start + share * size) / n)

        model.denoiser.bfloat16_products = config.bfloat16 and supports_bfloat16(model.device)
        repeated = [blueprints[i] for i in chosen for _ in range(config.candidates)]
        drawn, chances = _sample_batch(model, repeated, rng, config, report)
        model.denoiser.bfloat16_products = False
        for rank, i in enumerate(chosen):
            group = range(rank * config.candidates, (rank + 1) * config.candidates)
            results[i] = choose(
                [drawn[k] for k in group], [chances[k] for k in group], model.seen, alloys=config.alloys
            )
    return results


def choose(
    drawn: list[Structure | Failure], chances: list[float], seen: SeenFormulas | None, *, alloys: bool = True
) -> Structure | Failure:
    """Of crystals of one template: valid ones go first, then new formulas, then the chance to be stable.

    Without ``alloys`` the charges of mixtures of metals must balance, too.
    """

    def merit(k: int) -> tuple[bool, bool, float]:
        structure = drawn[k]
        if isinstance(structure, Failure):
            return False, False, -1.0
        new = seen is None or structure.composition not in seen
        valid = check_validity(structure, _VALIDITY) is None
        valid = valid and (alloys or check_charges(structure.composition, alloys=False) is None)
        return valid, new, chances[k]

    return drawn[max(range(len(drawn)), key=merit)] if len(drawn) > 1 else drawn[0]


def _sample_batch(
    model: DiffCSP,
    blueprints: list[Blueprint],
    rng: torch.Generator,
    config: SamplerConfig,
    report: Callable[[float], None],
) -> tuple[list[Structure | Failure], list[float]]:
    """One crystal for each blueprint, and its chance to be stable (0 without a critic)."""
    batch = collate([blank(blueprint) for blueprint in blueprints]).to(model.device)
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
        (blueprint.template for blueprint in blueprints),
        (state.species + 1).cpu().numpy(),
        state.parameters.cpu().double().numpy(),
        metric.cpu().numpy(),
        strict=True,
    )
    drawn = [decode_structure(t, z[: t.n_orbits], u[: t.n_orbits], g) for t, z, u, g in values]
    return drawn, _chances(model, batch, state)


def _chances(model: DiffCSP, batch: CrystalBatch, state: _State) -> list[float]:
    """What the critic gives each finished crystal of a batch."""
    if model.critic is None:
        return [0.0] * len(batch)
    finished = torch.zeros(len(batch), device=model.device)
    seen = model.view(batch, finished, state.species, state.parameters, state.lattice, torch.zeros_like(batch.entry))
    return torch.nan_to_num(model.critic.probability(batch, seen)).tolist()


def _predict(model: DiffCSP, batch: CrystalBatch, state: _State, t: torch.Tensor, config: SamplerConfig) -> Prediction:
    wanted = torch.full_like(batch.stability, config.stability)
    seen = model.view(batch, t, state.species, state.parameters, state.lattice, wanted)
    prediction = model.denoise(batch, seen)
    if not config.guidance:
        return prediction
    unconditional = model.denoise(batch, replace(seen, stability=torch.zeros_like(wanted)))
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
    share = ((now - after) / now)[:, None]
    state.species = _unmask(batch, state.species, prediction.logits, share, config, rng)


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


def _unmask(
    batch: CrystalBatch,
    species: torch.Tensor,
    logits: torch.Tensor,
    share: torch.Tensor,
    config: SamplerConfig,
    rng: torch.Generator,
) -> torch.Tensor:
    """Reveal each masked orbit with probability ``share``, its element drawn from the logits.

    Elements are drawn orbit after orbit among those that still let the crystal end with its number of
    distinct elements, no new one once all are there, only new ones when every masked orbit must add one; and
    among those that the rules of ``config.elements`` leave. The last one may balance the charges
    (:func:`choose_balanced`).
    """
    species = species.clone()
    hidden = (species == MASKED) & (batch.orbit_mask > 0)
    reveal = hidden & (_rand(species.float(), rng) < share)
    used = torch.zeros(len(batch), MAX_Z + 1, dtype=torch.bool, device=species.device)
    used = used.scatter(1, torch.where(batch.orbit_mask > 0, species, MASKED), True)[:, :MAX_Z]
    sizes = batch.orbit_sizes
    for orbit in reveal.any(0).nonzero().flatten().tolist():
        missing = (batch.n_elements - used.sum(1))[:, None]
        left = hidden.sum(1, keepdim=True)
        forbidden = torch.where(missing <= 0, ~used, used & (missing >= left)) | config.elements.forbidden(
            used, missing
        )
        scores = _gumbel(logits[:, orbit].masked_fill(forbidden, -torch.inf), rng)
        chosen = reveal[:, orbit]
        last = chosen & (left[:, 0] == 1) & config.balanced
        drawn = choose_balanced(scores, last, species, sizes, orbit, alloys=config.alloys)
        species[:, orbit] = torch.where(chosen, drawn, species[:, orbit])
        used = used | (chosen[:, None] & nn.functional.one_hot(drawn, MAX_Z).bool())
        hidden[:, orbit] &= ~chosen
    return species


def _gumbel(logits: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Scores whose largest is a draw from the logits (Gumbel-max)."""
    uniform = _rand(logits, rng).clamp(1e-9, 1 - 1e-7)
    return logits - (-uniform.log()).log()


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


def blank(blueprint: Blueprint) -> Crystal:
    """A crystal of which only the template and the number of elements count."""
    orbits = blueprint.template.n_orbits
    species = np.arange(orbits) % blueprint.n_elements + 1
    return Crystal(blueprint.template, species, np.zeros((orbits, 3)), np.zeros(N_COORDS))


def _randn(like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=rng).to(like.device)


def _rand(like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return torch.rand(like.shape, generator=rng).to(like.device)
