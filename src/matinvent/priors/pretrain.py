"""Supervised pretraining of a diffusion prior: the command ``matinvent pretrain``.

Training is measured in minutes of wall time, the quantity a laptop's owner can plan with: the learning rate
follows the clock. The averaged model is written every five minutes, so that little is lost to an interruption.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matinvent.config import read_yaml
from matinvent.errors import ConfigError, InputError
from matinvent.generators.diffcsp.checkpoint import save_model
from matinvent.generators.diffcsp.crystal import Crystal, collate
from matinvent.generators.diffcsp.lattice import FREE, N_COORDS
from matinvent.generators.diffcsp.library import TemplateLibrary
from matinvent.generators.diffcsp.model import DiffCSP
from matinvent.generators.diffcsp.network import NetworkConfig
from matinvent.generators.diffcsp.sampler import SamplerConfig
from matinvent.priors.dataset import STABILITY_EDGES, load_crystals

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PretrainConfig(BaseModel):
    """Settings of a pretraining run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "my-prior"
    symmetric: bool = Field(True, description="Symmetry templates; false: template-free DiffCSP.")
    max_atoms: Annotated[int, Field(ge=1, le=200)] = 20
    minutes: Positive = Field(30.0, description="Wall time of the optimisation.")
    seed: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] = 128
    chunks: Annotated[int, Field(ge=1)] = Field(4, description="Size-sorted parts of a batch; less padding.")
    learning_rate: Positive = 2e-3
    warmup: Annotated[int, Field(ge=1)] = Field(300, description="Optimizer steps of linear warm-up.")
    grad_clip: Positive = 1.0
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.999
    drop_class: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="Share trained without stability class.")
    guidance: Annotated[float, Field(ge=0, le=10)] = Field(
        1.0, description="Classifier-free guidance toward stable crystals that sampling uses by default."
    )
    bfloat16: bool = Field(True, description="Matrix products in bfloat16.")
    hidden: Annotated[int, Field(ge=8, multiple_of=2)] = 192
    edge: Annotated[int, Field(ge=4)] = 96
    layers: Annotated[int, Field(ge=1)] = 6
    threads: Annotated[int, Field(ge=0)] = Field(0, description="CPU threads; 0: one per core.")
    device: Literal["cpu", "cuda"] = "cpu"
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="Use only so many crystals (for trials).")

    @property
    def network(self) -> NetworkConfig:
        """Sizes of the denoiser."""
        return NetworkConfig(hidden=self.hidden, edge=self.edge, layers=self.layers)


def load_pretrain_config(path: Path | None, minutes: float | None = None) -> PretrainConfig:
    """Read a YAML file of pretraining settings (None: the defaults).

    Raises:
        ConfigError: the file is missing, or a key or value does not fit.
    """
    data = {} if path is None else read_yaml(path)
    if minutes is not None:
        data["minutes"] = minutes
    try:
        return PretrainConfig.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(f"'{'.'.join(map(str, f['loc']))}': {f['msg']}" for f in error.errors())
        raise ConfigError(f"{path or 'pretraining settings'}: {faults}") from None


def pretrain(
    config: PretrainConfig,
    data: Path,
    output: Path,
    log: Callable[[str], None] = lambda _: None,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Train a prior on a data folder and write ``output`` (safetensors) and its model card beside it.

    Raises:
        InputError: the data folder cannot be used.
        ConfigError: the output exists already.
    """
    if output.exists():
        raise ConfigError(f"{output}: exists already; choose another name")
    output.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    log(f"encoding the crystals of {data}")
    crystals, realistic = load_crystals(data, config.max_atoms, config.symmetric, config.limit)
    if not crystals:
        raise InputError(f"{data}: no crystal in it can be used (ordered, at most {config.max_atoms} atoms)")
    model = build_model(config, crystals, realistic)
    log(f"{len(crystals)} crystals, {len(model.library)} templates, {_count(model)} weights")
    trainer = Trainer(config, model, crystals, log)
    trainer.run(output, progress)
    _write_card(config, trainer, output)
    return output


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


class Trainer:
    """Optimises a model by the clock and keeps an exponential moving average of its weights."""

    def __init__(
        self, config: PretrainConfig, model: DiffCSP, crystals: Sequence[Crystal], log: Callable[[str], None]
    ) -> None:
        self.config = config
        self.model = model
        self.log = log
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.model.denoiser.bfloat16_products = config.bfloat16
        self.rng = torch.Generator().manual_seed(config.seed)
        order = torch.randperm(len(crystals), generator=self.rng).tolist()
        held_out = max(1, min(512, len(crystals) // 20))
        self.validation = [crystals[i] for i in order[:held_out]]
        self.training = [crystals[i] for i in order[held_out:]] or list(crystals)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
        self.step = 0
        self.losses: list[float] = []
        self.validation_loss = math.nan

    def run(self, output: Path, progress: Callable[[float], None] | None = None) -> None:
        """Train until the clock runs out; write the averaged model every five minutes and at the end."""
        start = saved = time.monotonic()
        budget = self.config.minutes * 60
        while (elapsed := time.monotonic() - start) < budget:
            self.losses.append(self._optimise(elapsed / budget))
            if self.step % 200 == 0:
                self.log(self._status(elapsed))
            if progress is not None:
                progress(elapsed / budget)
            if time.monotonic() - saved > 300:
                saved = time.monotonic()
                save_model(self.average, output, {"state": "training"})
        self.validation_loss = self.evaluate()
        self.log(f"finished after {self.step} steps, validation loss {self.validation_loss:.4f}")
        save_model(self.average, output, {"state": "finished"})

    def evaluate(self) -> float:
        """Mean denoising loss of the averaged model on the held-out crystals at fixed noise."""
        rng = torch.Generator().manual_seed(1)
        batch = self.average.collate(self.validation)
        t = torch.linspace(0.01, 1, len(self.validation), device=batch.lattice.device)
        with torch.no_grad():
            noisy = self.average.draw_noise(batch, t, rng)
            return float(self.average.loss(noisy, self.average.predict(noisy)).mean())

    def _optimise(self, share: float) -> float:
        config = self.config
        warm = min(1.0, (self.step + 1) / config.warmup)
        rate = config.learning_rate * warm * (0.5 + 0.5 * math.cos(math.pi * share)) + 1e-6
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = 0.0
        for part in self._draw_batch():
            loss = self._loss(part) / config.batch_size
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self._update_average()
        return total

    def _draw_batch(self) -> list[list[Crystal]]:
        """A random batch, sorted by cell size and cut into parts."""
        size = self.config.batch_size
        picks = torch.randint(0, len(self.training), (size,), generator=self.rng).tolist()
        chosen = sorted((self.training[i] for i in picks), key=lambda c: c.template.n_atoms)
        cuts = np.array_split(np.arange(size), self.config.chunks)
        return [[chosen[i] for i in cut] for cut in cuts if len(cut)]

    def _loss(self, crystals: list[Crystal]) -> torch.Tensor:
        """Summed denoising loss of some crystals at random noise levels."""
        drop = torch.rand(len(crystals), generator=self.rng) < self.config.drop_class
        batch = collate([replace(c, stability=0) if d else c for c, d in zip(crystals, drop, strict=True)])
        batch = batch.to(self.model.device)
        t = (1 - torch.rand(len(crystals), generator=self.rng)).to(self.model.device)
        noisy = self.model.draw_noise(batch, t, self.rng)
        loss: torch.Tensor = self.model.loss(noisy, self.model.predict(noisy)).sum()
        return loss

    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    def _status(self, elapsed: float) -> str:
        recent = float(np.mean(self.losses[-200:]))
        epochs = self.step * self.config.batch_size / len(self.training)
        return (
            f"step {self.step}  epoch {epochs:.1f}  {elapsed / 60:.1f} min  "
            f"training loss {recent:.4f}  validation loss {self.evaluate():.4f}"
        )


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
