"""Supervised pretraining of a diffusion prior: the command ``matinvent pretrain``.

Training is measured in minutes of wall time, the quantity a laptop's owner can plan with: the learning rate
follows the clock. The averaged model is written every five minutes, with all that a resume needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml

from matinvent.errors import CheckpointError, ConfigError, InputError
from matinvent.generators.diffcsp.checkpoint import load_model, save_model
from matinvent.generators.diffcsp.critic import StabilityCritic
from matinvent.generators.diffcsp.crystal import Crystal
from matinvent.generators.diffcsp.lattice import FREE, N_COORDS
from matinvent.generators.diffcsp.library import TemplateLibrary
from matinvent.generators.diffcsp.model import DiffCSP
from matinvent.generators.diffcsp.sampler import SamplerConfig
from matinvent.generators.diffcsp.seen import SeenFormulas
from matinvent.priors import find_prior
from matinvent.priors.critic_training import CriticTrainer
from matinvent.priors.dataset import STABILITY_EDGES, load_crystals
from matinvent.priors.settings import PretrainConfig
from matinvent.priors.trainer import Trainer, state_file


def pretrain(
    config: PretrainConfig,
    data: Path,
    output: Path,
    log: Callable[[str], None] = lambda _: None,
    progress: Callable[[float], None] | None = None,
    resume: bool = False,
) -> Path:
    """Train a prior on a data folder and write ``output`` (safetensors) and its model card beside it.

    Args:
        config: settings of the run.
        data: folder of :mod:`matinvent.priors.dataset`.
        output: checkpoint to write.
        log: called with a line now and then.
        progress: called with the finished share.
        resume: continue an interrupted run of the same settings and data; ``minutes`` may differ.

    Raises:
        InputError: the data folder cannot be used.
        ConfigError: the output exists already.
        CheckpointError: there is nothing to resume.
    """
    if resume and not state_file(output).is_file():
        raise CheckpointError(f"{state_file(output)}: no training state to resume from; start without --resume")
    if output.exists() and not resume:
        raise ConfigError(f"{output}: exists already; choose another name")
    output.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    log(f"encoding the crystals of {data}")
    crystals, realistic = load_crystals(data, config.max_atoms, config.symmetric, config.limit)
    if not crystals:
        raise InputError(f"{data}: no crystal in it can be used (ordered, at most {config.max_atoms} atoms)")
    model = build_model(config, crystals, realistic)
    log(f"{len(crystals)} crystals, {len(model.library)} templates, {_count(model)} weights")
    if config.initial is not None:
        log(f"{_take_weights(model, config.initial)} of {len(model.state_dict())} arrays taken from {config.initial}")
    trainer = Trainer(config, model, crystals, log)
    if resume:
        trainer.restore(output)
        log(f"resumed after {trainer.step} steps, {trainer.elapsed / 60:.1f} minutes")
    trainer.run(output, progress)
    finished = trainer.average
    if config.critic_minutes and any(crystal.stability for crystal in crystals):
        finished.adopt(_train_critic(config, finished, crystals, log))
        finished.seen = SeenFormulas.of(crystals)
        finished.sampler = replace(finished.sampler, candidates=config.candidates)
    save_model(finished, output, {"state": "finished"})
    _write_card(config, trainer, output)
    state_file(output).unlink()
    return output


def _train_critic(
    config: PretrainConfig, model: DiffCSP, crystals: Sequence[Crystal], log: Callable[[str], None]
) -> StabilityCritic:
    rates = config.learning_rate, config.matrix_rate
    trainer = CriticTrainer(model, crystals, config.critic_network, *rates, config.seed)
    return trainer.run(config.critic_minutes, log, config.bfloat16)


def build_model(config: PretrainConfig, crystals: Sequence[Crystal], realistic: np.ndarray) -> DiffCSP:
    """A fresh model with the data's lattice statistics and the templates of its realistic crystals."""
    chosen = [c for c, real in zip(crystals, realistic, strict=True) if real] or list(crystals)
    mean, std = lattice_statistics(crystals)
    return DiffCSP(
        config.network,
        TemplateLibrary.from_crystals(chosen),
        max_atoms=config.max_atoms,
        lattice_mean=torch.from_numpy(mean),
        lattice_std=torch.from_numpy(std),
        sampler=SamplerConfig(guidance=config.guidance),
        name=config.name,
    ).to(config.device)


def _take_weights(model: DiffCSP, prior: str) -> int:
    """Copy another prior's weights where the shapes agree (lattice statistics are the data's own); how many arrays.

    Raises:
        ConfigError: there is no such prior.
        CheckpointError: it cannot be read.
    """
    path = find_prior(prior)
    if path is None:
        raise ConfigError(f"initial: '{prior}' is neither a shipped prior nor a checkpoint file")
    own, other = model.denoiser.state_dict(), load_model(path).denoiser.state_dict()
    taken = {name: value for name, value in other.items() if name in own and own[name].shape == value.shape}
    model.denoiser.load_state_dict(taken, strict=False)
    return len(taken)


def lattice_statistics(crystals: Sequence[Crystal]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (6,) of the free lattice coordinates, volume taken per atom."""
    values = np.array([c.lattice for c in crystals], dtype=np.float64)
    conventional_atoms = np.array([c.template.n_atoms * c.template.cells for c in crystals])
    values[:, -1] -= np.log(conventional_atoms) / 3
    free = np.array([FREE[c.template.family] for c in crystals], dtype=np.float64)
    count = free.sum(0).clip(min=1)
    mean = (values * free).sum(0) / count
    std = np.sqrt((((values - mean) * free) ** 2).sum(0) / count)
    std[std < 1e-3] = 1.0
    assert mean.shape == (N_COORDS,)
    return mean.astype(np.float32), std.astype(np.float32)


def _count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _write_card(config: PretrainConfig, trainer: Trainer, output: Path) -> None:
    """Write the model card: what was trained on what, how, and how well."""
    kind = "symmetry-template" if config.symmetric else "template-free"
    lines = [
        f"# {config.name}",
        "",
        f"A {kind} crystal diffusion prior trained by `matinvent pretrain`.",
        "",
        f"- weights: {_count(trainer.model):,}",
        f"- templates: {len(trainer.model.library):,}",
        f"- crystals: {len(trainer.training):,} for training, {len(trainer.validation):,} held out",
        f"- optimizer steps: {trainer.step:,} of {config.batch_size} crystals in {config.minutes:g} minutes",
        f"- training loss (last 200 steps): {np.mean(trainer.losses[-200:]):.4f}",
        f"- validation loss: {trainer.validation_loss:.4f}",
        f"- energy-above-hull classes, upper edges in eV/atom: {', '.join(map(str, STABILITY_EDGES))}",
        "",
        "## Settings",
        "",
        "```yaml",
        yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).strip(),
        "```",
        "",
    ]
    output.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
