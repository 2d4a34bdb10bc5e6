"""Training of the stability critic on the crystals of a prior (see :mod:`matinvent.generators.diffcsp.critic`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from matinvent.generators.diffcsp.critic import LAST_STABLE_CLASS, StabilityCritic
from matinvent.generators.diffcsp.crystal import Crystal, CrystalBatch, collate
from matinvent.generators.diffcsp.model import DiffCSP
from matinvent.generators.diffcsp.network import NetworkConfig, NetworkInput
from matinvent.priors.optimizers import make_optimizers, set_rates, take_step

#: Largest noise level that training crystals are shaken to; samples lie about so far from their relaxed form.
_SHAKE = 0.3
_BATCH = 128
_CHUNKS = 4
_WARMUP = 200
_CLIP = 1.0


class CriticTrainer:
    """Trains a critic by the clock.

    Args:
        model: gives lattice statistics and noise; not changed.
        crystals: those of known energy-above-hull class are used.
        config: sizes of the critic.
        rate, muon_rate: learning rates, see :func:`make_optimizers`.
        seed: of weights, batches and noise.
    """

    def __init__(
        self,
        model: DiffCSP,
        crystals: Sequence[Crystal],
        config: NetworkConfig,
        rate: float,
        muon_rate: float | None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.rng = torch.Generator().manual_seed(seed)
        known = [crystal for crystal in crystals if crystal.stability > 0]
        order = torch.randperm(len(known), generator=self.rng).tolist()
        held_out = max(1, min(1024, len(known) // 20))
        self.validation = sorted((known[i] for i in order[:held_out]), key=_size)
        self.training = [known[i] for i in order[held_out:]] or known
        self.critic = StabilityCritic(config).to(model.device)
        self.optimizers = make_optimizers(self.critic, self.critic.parameters(), rate, muon_rate)
        self.step = 0

    def run(self, minutes: float, log: Callable[[str], None], bfloat16: bool = True) -> StabilityCritic:
        """Train for so many minutes of wall time."""
        self.critic.bfloat16_products = bfloat16
        start = time.monotonic()
        losses: list[float] = []
        while (elapsed := time.monotonic() - start) < 60 * minutes:
            set_rates(self.optimizers, self.step, _WARMUP, elapsed / (60 * minutes))
            losses.append(self._optimise())
            if self.step % 500 == 0:
                recent = float(np.mean(losses[-500:]))
                log(f"critic: step {self.step}  {elapsed / 60:.1f} min  loss {recent:.4f}  AUC {self.auc():.3f}")
        self.critic.bfloat16_products = False
        log(f"critic: finished after {self.step} steps, AUC {self.auc():.3f} on {len(self.validation)} held out")
        return self.critic

    def _optimise(self) -> float:
        picks = torch.randint(0, len(self.training), (_BATCH,), generator=self.rng).tolist()
        chosen = sorted((self.training[i] for i in picks), key=_size)
        total = 0.0
        for cut in np.array_split(np.arange(_BATCH), _CHUNKS):
            batch = collate([chosen[i] for i in cut]).to(self.model.device)
            loss = cross_entropy(self.critic(batch, self._shaken(batch)), batch.stability - 1, reduction="sum") / _BATCH
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        take_step(self.optimizers, self.critic.parameters(), _CLIP)
        self.step += 1
        return total

    def _shaken(self, batch: CrystalBatch) -> NetworkInput:
        """The crystals of a batch at small unknown noise levels, all elements shown."""
        level = (_SHAKE * torch.rand(len(batch), generator=self.rng)).clamp(min=1e-3).to(self.model.device)
        noisy = self.model.draw_noise(batch, level, self.rng)
        untold = torch.zeros_like(level)
        return self.model.view(
            batch, untold, batch.species, noisy.parameters, noisy.lattice, torch.zeros_like(batch.stability)
        )

    def auc(self) -> float:
        """Area under the ROC curve for stable against unstable on held-out crystals, shaken."""
        from scipy.stats import mannwhitneyu

        scores, stable = [], []
        for start in range(0, len(self.validation), _BATCH):
            batch = collate(self.validation[start : start + _BATCH]).to(self.model.device)
            scores += self.critic.probability(batch, self._shaken(batch)).tolist()
            stable += (batch.stability <= LAST_STABLE_CLASS).tolist()
        values, positive = np.array(scores), np.array(stable)
        if positive.all() or not positive.any():
            return float("nan")
        pairs = positive.sum() * (~positive).sum()
        return float(mannwhitneyu(values[positive], values[~positive]).statistic / pairs)


def _size(crystal: Crystal) -> int:
    return crystal.template.n_atoms
