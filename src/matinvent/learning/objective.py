"""The objective of the paper: reward-weighted denoising plus a divergence to the frozen prior.

    L = mean over pairs (i, t) of  r_i * l_i(t)  +  sigma * (lambda - r_i) * D_i(t)

(Chen et al., arXiv 2511.03112; METHOD in docs). A crystal with a high reward is learned; one with a low
reward only holds the agent near the prior. lambda must exceed the largest reward, or the divergence
would be rewarded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def reward_weighted_loss(
    rewards: torch.Tensor, losses: torch.Tensor, divergences: torch.Tensor, sigma: float, lambda_: float
) -> torch.Tensor:
    """Objective of each (crystal, noise level) pair, shape (M,).

    Args:
        rewards: r in [0, 1], (M,).
        losses: denoising loss l of the agent, (M,).
        divergences: divergence D of agent and prior on the same noisy input, (M,), >= 0.
        sigma: weight of the divergence.
        lambda_: offset, at least the largest reward.
    """
    return rewards * losses + sigma * (lambda_ - rewards) * divergences
