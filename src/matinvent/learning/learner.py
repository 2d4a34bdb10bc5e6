"""The learner: bends the agent toward rewarded crystals, held near the frozen prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from matinvent.learning.objective import reward_weighted_loss
from matinvent.learning.schedule import make_plan

if TYPE_CHECKING:
    from matinvent.config import LearningConfig
    from matinvent.generators.protocol import Generator


#: (crystal, noise level) pairs in a forward pass on a CPU, where padding costs time, and on a GPU.
_PAIRS = (16, 512)


@dataclass(frozen=True, slots=True)
class LearningReport:
    """Means over the (crystal, noise level) pairs of one iteration.

    Attributes:
        loss: unweighted denoising loss of the agent.
        divergence: divergence of agent and prior.
        grad_norm: gradient norm before clipping, mean over steps.
        steps: optimizer steps taken.
        pairs: (crystal, noise level) pairs seen.
        skipped: steps not taken because the gradient was not finite.
    """

    loss: float
    divergence: float
    grad_norm: float
    steps: int
    pairs: int
    skipped: int


class Learner:
    """Updates an agent from encoded crystals and their rewards.

    Args:
        agent: the generator that learns.
        prior: a frozen copy of what it started from.
        config: learning settings; see :class:`matinvent.config.LearningConfig`.
    """

    def __init__(self, agent: Generator, prior: Generator, config: LearningConfig) -> None:
        self.agent = agent
        self.prior = prior
        self.config = config
        for parameter in prior.parameters():
            parameter.requires_grad_(False)
        self._optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.agent.parameters(), lr=self.config.learning_rate, eps=self.config.epsilon)

    def learn(
        self,
        items: Sequence[Any],
        rewards: Sequence[float],
        rng: torch.Generator,
        progress: Callable[[float], None] | None = None,
    ) -> LearningReport | None:
        """Take the optimizer steps of one iteration; None when there is nothing to learn from.

        Args:
            items: encoded crystals (from the agent's ``encode``).
            rewards: reward of each in [0, 1].
            rng: draws noise levels and noise; lives on the CPU.
            progress: called with the finished share.

        Raises:
            ValueError: a reward is outside [0, 1] or not finite.
        """
        if not items:
            return None
        if any(not 0.0 <= reward <= 1.0 for reward in rewards):
            raise ValueError(f"rewards must lie in [0, 1], got {list(rewards)}")
        if self.config.optimizer == "per_iteration":
            self._optimizer = self._new_optimizer()
        device = self.agent.device
        plan = make_plan(self.config, [self.agent.size(item) for item in items], rng, _PAIRS[device.type == "cuda"])
        batches = [self.agent.collate([items[i] for i in rows]) for rows in plan.chunks]
        values = [torch.tensor([rewards[i] for i in rows], device=device) for rows in plan.chunks]
        tally = _Tally()
        self.agent.train()
        for step in plan.steps:
            pairs = sum(len(part.t) for part in step)
            for part in step:
                noisy = self.agent.draw_noise(batches[part.chunk], part.t.to(device), rng)
                self._accumulate(noisy, values[part.chunk], pairs, tally)
            self._step(tally)
            if progress is not None:
                progress(tally.steps / self.steps_per_iteration)
        return tally.report()

    @property
    def steps_per_iteration(self) -> int:
        """Optimizer steps that one call of :meth:`learn` takes."""
        config = self.config
        if config.schedule == "paper":
            return config.epochs * -(-config.timesteps // config.accumulate)
        return config.updates

    def _accumulate(self, noisy: Any, rewards: torch.Tensor, pairs: int, tally: _Tally) -> None:
        """Add one forward pass's share of the gradient."""
        config = self.config
        with torch.no_grad():
            reference = self.prior.predict(noisy)
        prediction = self.agent.predict(noisy)
        losses = self.agent.loss(noisy, prediction)
        divergences = self.agent.divergence(noisy, prediction, reference, config.divergence)
        objective = reward_weighted_loss(rewards, losses, divergences, config.sigma, config.lambda_)
        (objective.sum() / pairs).backward()  # type: ignore[no-untyped-call]
        tally.add(losses.detach(), divergences.detach())

    def _step(self, tally: _Tally) -> None:
        """Clip and apply the accumulated gradient; a non-finite one is dropped and counted."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.agent.parameters(), self.config.grad_clip))
        finite = math.isfinite(norm)
        if finite:
            self._optimizer.step()
        self._optimizer.zero_grad()
        tally.close_step(norm, finite)

    def state_dict(self) -> dict[str, Any]:
        """Weights of the agent and the optimizer's moments."""
        return {"agent": self.agent.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.agent.load_state_dict(state["agent"])
        self._optimizer.load_state_dict(state["optimizer"])


class _Tally:
    """Running sums behind a :class:`LearningReport`."""

    def __init__(self) -> None:
        self.loss = self.divergence = self.norm = 0.0
        self.steps = self.pairs = self.skipped = 0

    def add(self, losses: torch.Tensor, divergences: torch.Tensor) -> None:
        self.loss += float(losses.sum())
        self.divergence += float(divergences.sum())
        self.pairs += len(losses)

    def close_step(self, norm: float, finite: bool) -> None:
        self.steps += 1
        if finite:
            self.norm += norm
        else:
            self.skipped += 1

    def report(self) -> LearningReport:
        taken = max(self.steps - self.skipped, 1)
        return LearningReport(
            loss=self.loss / self.pairs,
            divergence=self.divergence / self.pairs,
            grad_norm=self.norm / taken,
            steps=self.steps,
            pairs=self.pairs,
            skipped=self.skipped,
        )
