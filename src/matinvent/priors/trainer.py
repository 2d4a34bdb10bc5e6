"""The optimisation of a denoiser by the clock, resumable and data-parallel."""

from __future__ import annotations

import copy
import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from matinvent.errors import CheckpointError
from matinvent.execution.executors import available_cores
from matinvent.generators.diffcsp.checkpoint import save_model
from matinvent.generators.diffcsp.crystal import Crystal, collate
from matinvent.generators.diffcsp.model import DiffCSP
from matinvent.priors.judgement import in_brief, judge
from matinvent.priors.optimizers import make_optimizers, set_rates, take_step
from matinvent.priors.parallel import average_gradients, rank, size, worker_group
from matinvent.priors.settings import PretrainConfig

#: Seconds between two checkpoints.
_SAVE_INTERVAL = 300.0


def state_file(output: Path) -> Path:
    """Where the training state of a prior is kept while it is trained."""
    return output.with_suffix(".state")


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
        self.optimizers = make_optimizers(model.denoiser, model.parameters(), config.learning_rate, config.matrix_rate)
        self.step = 0
        #: Seconds of training so far, those before a resume included.
        self.elapsed = 0.0
        self.losses: list[float] = []
        self.validation_loss = math.nan

    def run(self, output: Path, progress: Callable[[float], None] | None = None) -> None:
        """Train until the clock runs out; every five minutes write the averaged model and what a resume needs."""
        saved = judged = self.elapsed

        def report() -> None:
            nonlocal saved, judged
            if self.step % 200 == 0:
                self.log(self._status())
            if progress is not None:
                progress(min(1.0, self.elapsed / (60 * self.config.minutes)))
            if self.elapsed - saved > _SAVE_INTERVAL:
                saved = self.elapsed
                self.save(output)
            if 0 < 60 * self.config.judge_every < self.elapsed - judged:
                judged = self.elapsed
                self.log(f"{self.elapsed / 60:.1f} min: {in_brief(judge(self.average, self.config.judge_samples))}")

        with worker_group(self._workers, self._optimise_until_the_end):
            self._optimise_until_the_end(report)
        self.validation_loss = self.evaluate()
        self.log(f"finished after {self.step} steps, validation loss {self.validation_loss:.4f}")
        self.save(output)

    def save(self, output: Path) -> None:
        """Write the averaged model to ``output`` and the training state beside it."""
        save_model(self.average, output, {"state": "training"})
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed": self.elapsed,
            "losses": self.losses,
        }
        temporary = state_file(output).with_suffix(".part")
        torch.save(state, temporary)
        temporary.replace(state_file(output))

    def restore(self, output: Path) -> None:
        """Continue from what :meth:`save` wrote.

        Raises:
            CheckpointError: the state is missing, damaged, or of other settings.
        """
        path = state_file(output)
        try:
            state = torch.load(path, map_location=self.config.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(values)
            self.step, self.elapsed, self.losses = state["step"], state["elapsed"], state["losses"]
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path}: does not fit these settings and data ({type(error).__name__})") from None

    @property
    def _workers(self) -> int:
        if self.config.device == "cuda":
            return 1
        return self.config.workers or available_cores()

    def _optimise_until_the_end(self, report: Callable[[], None] = lambda: None) -> None:
        """Optimizer steps until the clock of worker 0 runs out."""
        torch.set_num_threads(1 if size() > 1 else self.config.threads or available_cores())
        self.rng.manual_seed(_worker_seed(self.config.seed, self.step, rank()))
        budget = self.config.minutes * 60
        duration = 0.0
        while self.elapsed < budget:
            start = time.monotonic()
            self.losses.append(self._optimise(self.elapsed / budget, self.elapsed + duration))
            duration = time.monotonic() - start  # of the step alone: reports are no training
            report()

    def evaluate(self) -> float:
        """Mean denoising loss of the averaged model on the held-out crystals at fixed noise."""
        rng = torch.Generator().manual_seed(1)
        batch = self.average.collate(self.validation)
        t = torch.linspace(0.01, 1, len(self.validation), device=batch.lattice.device)
        with torch.no_grad():
            noisy = self.average.draw_noise(batch, t, rng)
            return float(self.average.loss(noisy, self.average.predict(noisy)).mean())

    def _optimise(self, share: float, clock: float) -> float:
        """One step of all workers at a share of the schedule; ``clock`` is this worker's time."""
        config = self.config
        set_rates(self.optimizers, self.step, config.warmup, share)
        total = 0.0
        for part in self._draw_batch():
            loss = self._loss(part) / (config.batch_size // size())
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        self.elapsed = average_gradients(self.model.parameters(), clock)
        take_step(self.optimizers, self.model.parameters(), config.grad_clip)
        self.step += 1
        self._update_average()
        return total

    def _draw_batch(self) -> list[list[Crystal]]:
        """This worker's part of a random batch, sorted by cell size and cut into parts."""
        share = self.config.batch_size // size()
        picks = torch.randint(0, len(self.training), (share,), generator=self.rng).tolist()
        chosen = sorted((self.training[i] for i in picks), key=lambda c: c.template.n_atoms)
        cuts = np.array_split(np.arange(share), max(1, self.config.chunks // size()))
        return [[chosen[i] for i in cut] for cut in cuts if len(cut)]

    def _loss(self, crystals: list[Crystal]) -> torch.Tensor:
        """Summed denoising loss of some crystals at random noise levels."""
        drop = torch.rand(len(crystals), generator=self.rng) < self.config.drop_class
        batch = collate([replace(c, stability=0) if d else c for c, d in zip(crystals, drop, strict=True)])
        batch = batch.to(self.model.device)
        t = (1 - torch.rand(len(crystals), generator=self.rng)).to(self.model.device)
        noisy = self.model.draw_noise(batch, t, self.rng)
        terms = self.model.loss_terms(noisy, self.model.predict(noisy))
        return (terms * terms.new_tensor([1.0, self.config.coordinate_weight, 1.0])).sum()

    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    def _status(self) -> str:
        recent = float(np.mean(self.losses[-200:]))
        epochs = self.step * self.config.batch_size / len(self.training)
        return (
            f"step {self.step}  epoch {epochs:.1f}  {self.elapsed / 60:.1f} min  "
            f"training loss {recent:.4f}  validation loss {self.evaluate():.4f}"
        )


def _worker_seed(seed: int, step: int, worker: int) -> int:
    """Seed of a worker's draws from a step on: a resumed run repeats no noise of the run before."""
    return int(np.random.SeedSequence([seed, step, worker]).generate_state(1)[0])
