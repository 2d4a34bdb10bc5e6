"""The optimizers of pretraining and their learning rates over the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from matinvent.generators.diffcsp.network import CrystalEncoder

#: Share of the largest learning rate that is left at the end.
_LAST = 1e-3


def make_optimizers(
    encoder: CrystalEncoder, parameters: Iterable[torch.nn.Parameter], rate: float, muon_rate: float | None
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the message passing, AdamW for all else; groups keep their largest rate as ``peak``.

    Muon (Jordan et al. 2024) orthogonalises the updates of matrices that map hidden features to hidden
    features; embeddings, heads and biases do not gain by it.

    Args:
        encoder: the network whose layers hold the matrices.
        parameters: everything that is trained.
        rate: learning rate of AdamW.
        muon_rate: learning rate of Muon; None: AdamW for all.
    """
    matrices = [p for p in encoder.layers.parameters() if p.dim() == 2] if muon_rate else []
    chosen = set(map(id, matrices))
    others = [p for p in parameters if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(others, lr=rate, weight_decay=0.0)]
    if matrices and muon_rate:
        optimizers.append(torch.optim.Muon(matrices, lr=muon_rate, weight_decay=0.0))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rates(optimizers: Sequence[torch.optim.Optimizer], step: int, warmup: int, share: float) -> None:
    """Linear warm-up over the first steps, then a cosine over the ``share`` in [0, 1] of the run that is done."""
    factor = min(1.0, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * min(share, 1.0))) + _LAST
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group["peak"]


def take_step(
    optimizers: Sequence[torch.optim.Optimizer], parameters: Iterable[torch.nn.Parameter], clip: float
) -> None:
    """Clip the gradient norm, apply the gradient, and clear it."""
    torch.nn.utils.clip_grad_norm_(parameters, clip)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
