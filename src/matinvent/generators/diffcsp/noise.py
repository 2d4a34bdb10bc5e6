"""Noise processes of the three fields of a crystal, in continuous time t in (0, 1].

* lattice: variance-preserving Gaussian with a cosine schedule (Nichol and Dhariwal 2021);
* coordinates: wrapped normal on the torus of free orbit parameters (DiffCSP, Jiao et al. 2023);
* elements: absorbing-state categorical, one variable per orbit (D3PM, Austin et al. 2021).
"""

from __future__ import annotations

import math
from functools import cache

import torch

SIGMA_MIN = 0.005
SIGMA_MAX = 0.5
_OFFSET = 0.008
_MIN_SIGNAL = 1e-4
#: Images of the torus summed on each side for the wrapped normal.
_IMAGES = 3


def signal(t: torch.Tensor) -> torch.Tensor:
    """Remaining signal power alpha-bar(t) of the lattice process, 1 at t = 0, nearly 0 at t = 1."""
    angle = (t + _OFFSET) / (1 + _OFFSET) * math.pi / 2
    start = math.cos(_OFFSET / (1 + _OFFSET) * math.pi / 2)
    return ((torch.cos(angle) / start) ** 2).clamp(_MIN_SIGNAL, 1.0)


def signal_loss_rate(t: torch.Tensor) -> torch.Tensor:
    """-d alpha-bar / dt of the lattice process at t."""
    speed = math.pi / 2 / (1 + _OFFSET)
    start = math.cos(_OFFSET / (1 + _OFFSET) * math.pi / 2)
    return torch.sin(2 * speed * (t + _OFFSET)) * speed / start**2


def sigma(t: torch.Tensor) -> torch.Tensor:
    """Width of the coordinate noise at t (fractional units), geometric; exactly 0 at t = 0."""
    width = SIGMA_MIN ** (1 - t) * SIGMA_MAX**t
    return torch.where(t > 0, width, torch.zeros_like(width))


def wrap(x: torch.Tensor) -> torch.Tensor:
    """Representative of x (mod 1) in [-1/2, 1/2]."""
    return x - torch.round(x)


def wrapped_score(x: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """d/dx log p of a zero-mean normal of the given width wrapped onto the unit circle; same shape as x."""
    images = torch.arange(-_IMAGES, _IMAGES + 1, device=x.device, dtype=x.dtype)
    shifted = wrap(x)[..., None] + images
    weights = torch.softmax(-(shifted**2) / (2 * width[..., None] ** 2), -1)
    return -(weights * shifted).sum(-1) / width**2


class ScoreScale(torch.nn.Module):
    """Root-mean-square of :func:`wrapped_score` as a function of t, so that targets have unit size."""

    table: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", _score_table().clone(), persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """RMS score at t, same shape; log-linear between table points."""
        place = t.clamp(0, 1) * (len(self.table) - 1)
        low = place.floor().long().clamp(max=len(self.table) - 2)
        logs = self.table.log()
        return torch.exp(torch.lerp(logs[low], logs[low + 1], place - low))


@cache
def _score_table(points: int = 401) -> torch.Tensor:
    """RMS of the wrapped score at equidistant t by quadrature, (points,); row by row to spare memory."""
    x = torch.linspace(-0.5, 0.5, 8001, dtype=torch.float64)
    images = torch.arange(-_IMAGES, _IMAGES + 1, dtype=torch.float64)
    rows = []
    for t in torch.linspace(0, 1, points, dtype=torch.float64):
        width = SIGMA_MIN ** (1 - t) * SIGMA_MAX**t
        density = torch.exp(-((x[:, None] + images) ** 2) / (2 * width**2)).sum(-1)
        rows.append((density / density.sum() * wrapped_score(x, width.expand_as(x)) ** 2).sum())
    return torch.stack(rows).sqrt().float()
