"""Training of an ensemble: every member leaves out one fold of the formulas, none sees the test formulas.

What a member says of its own fold is what it would say of new formulas. All choices rest on that: the scale of the
uncertainty, and for positive-unlabelled learning the threshold. The test formulas only measure the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from matinvent.errors import InputError
from matinvent.predictors.ensemble import LOG_VARIANCE, Card, Ensemble, Kind, Layer
from matinvent.predictors.features import block_names
from matinvent.predictors.metrics import (
    expected_recall_shift,
    fold_metrics,
    noise_of,
    regression_metrics,
    score_metrics,
)
from matinvent.predictors.split import fold_of, is_test
from matinvent.predictors.targets import transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    Floats = NDArray[np.float32]
    Mask = NDArray[np.bool_]

#: Rows of fewer than this many formulas in a fold or in the test say nothing.
_FEWEST = 20

#: Share of the positives of unseen formulas that must score above one half.
_RECALL = 0.88


@dataclass(frozen=True, slots=True)
class Settings:
    """How networks are shaped and trained.

    Attributes:
        hidden: widths of the hidden layers.
        members: networks, and folds.
        epochs: passes through the training rows.
        batch: rows of an optimizer step.
        rate: largest learning rate (one cycle).
        decay: weight decay.
        dropout: share of the hidden units that are left out of a step.
        seed: of weights, order and bags.
    """

    hidden: Sequence[int]
    members: int = 5
    epochs: int = 30
    batch: int = 512
    rate: float = 1.5e-3
    decay: float = 0.01
    dropout: float = 0.1
    seed: int = 0

    @classmethod
    def for_rows(cls, rows: int, seed: int = 0) -> Settings:
        """Settings that suit a number of labelled crystals."""
        if rows >= MANY:
            return cls(hidden=(128, 64, 64), epochs=30, batch=512, seed=seed)
        return cls(hidden=(64, 64), epochs=60 if rows >= 3000 else 100, batch=128, decay=0.05, seed=seed)


#: From this many labelled crystals on, larger networks and more features pay.
MANY = 10_000


def blocks_for(rows: int) -> tuple[str, ...]:
    """Features that suit a number of labelled crystals: few of them cannot tell which of many matter."""
    return tuple(block for block in block_names() if block != "extremes" or rows >= MANY)


@dataclass(frozen=True, slots=True)
class Table:
    """Labelled crystals, as networks see them.

    Attributes:
        features: shape (N, F).
        targets: of the property, shape (N,); for ``pu`` 1 for positive, 0 for unlabelled.
        keys: formulas (see :func:`~matinvent.predictors.split.formula_key`), length N.
    """

    features: Floats
    targets: Reals
    keys: Sequence[str]


def train(table: Table, card: Card, settings: Settings, progress: Callable[[float], None] = lambda _: None) -> Ensemble:
    """Train an ensemble, calibrate it on formulas that members left out, and measure it on the test formulas.

    Args:
        table: labelled crystals.
        card: what is known beforehand: name, unit, bounds, kind, transform, features.
        settings: of the networks.
        progress: called with the finished share; may raise to interrupt.

    Returns:
        The ensemble as its file will have it, with a complete card.

    Raises:
        InputError: too few rows to train, to calibrate or to test; all targets are equal.
    """
    test = is_test(table.keys)
    folds = np.where(test, -1, fold_of(table.keys, settings.members))
    _require_enough(folds, test, settings.members)
    learned = transform(card.target).forward(table.targets)
    if card.kind == "regression":
        card = replace(card, centre=float(learned[~test].mean()), scale=float(learned[~test].std()))
        if card.scale < 1e-12:
            raise InputError("all targets are equal: there is nothing to learn")
    standard = ((learned - card.centre) / card.scale).astype(np.float32)
    blank = _blank(table.features[~test], card)
    inputs = torch.from_numpy(blank.standardised(table.features))
    members = [
        _train_member(
            inputs,
            torch.from_numpy(standard),
            _rows(folds, fold, table.targets, card.kind, settings.seed),
            settings,
            fold,
            card.kind,
            lambda done, fold=fold: progress((fold + done) / settings.members),  # type: ignore[misc]
        )
        for fold in range(settings.members)
    ]
    ensemble = replace(blank, layers=_stacked(members)).rounded()
    return _judged(ensemble, table, folds, settings)


def _require_enough(folds: NDArray[np.int64], test: Mask, members: int) -> None:
    counts = [int(test.sum()), *(int((folds == fold).sum()) for fold in range(members))]
    if min(counts) < _FEWEST:
        raise InputError(
            f"{len(folds)} labelled crystals are too few: the test formulas are {counts[0]} of them, the folds "
            f"{', '.join(map(str, counts[1:]))}, and each needs {_FEWEST}"
        )


def _blank(features: Floats, card: Card) -> Ensemble:
    """An ensemble without layers, with the statistics of the training features."""
    deviation = features.std(axis=0, dtype=np.float64).astype(np.float32)
    # A feature that is the same everywhere but for rounding tells nothing.
    constant = deviation < 1e-5 * (1 + np.abs(features).max(axis=0))
    return Ensemble(
        card, features.mean(axis=0, dtype=np.float64).astype(np.float32), np.where(constant, 1e6, deviation), []
    )


def _rows(folds: NDArray[np.int64], fold: int, targets: Reals, kind: Kind, seed: int) -> NDArray[np.int64]:
    """Training rows of a member: all outside of its fold; for ``pu`` the positives and as many unlabelled ones.

    Bagging positive-unlabelled learning (Mordelet and Vert, Pattern Recognition Letters 37, 201, 2014; for crystals
    Jang et al., J. Am. Chem. Soc. 142, 18836, 2020): each member takes other unlabelled crystals for negative ones.
    """
    rows = np.flatnonzero((folds >= 0) & (folds != fold))
    if kind == "regression":
        return rows
    positive, unlabelled = rows[targets[rows] > 0.5], rows[targets[rows] <= 0.5]
    count = min(len(positive), len(unlabelled))
    bag = np.random.default_rng([seed, fold]).choice(unlabelled, count, replace=False)
    return np.concatenate([positive, bag])


def _train_member(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    rows: NDArray[np.int64],
    settings: Settings,
    member: int,
    kind: Kind,
    progress: Callable[[float], None],
) -> list[nn.Linear]:
    """One network, trained for a fixed number of epochs; its dense layers."""
    draws = torch.Generator().manual_seed(1000 * settings.seed + member)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * settings.seed + member)  # of weights and dropout
        network, dense = _network(inputs.shape[1], settings, outputs=1 if kind == "pu" else 2)
        loss = _classification_loss if kind == "pu" else _regression_loss
        optimizer = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.decay)
        steps = settings.epochs * -(-len(rows) // settings.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=steps, pct_start=0.1)
        for epoch in range(settings.epochs):
            for batch in _batches(torch.from_numpy(rows), settings.batch, draws):
                optimizer.zero_grad()
                loss(network(inputs[batch]), targets[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            progress((epoch + 1) / settings.epochs)
    return dense


def _network(inputs: int, settings: Settings, outputs: int) -> tuple[nn.Sequential, list[nn.Linear]]:
    widths = [inputs, *settings.hidden, outputs]
    dense = [nn.Linear(a, b) for a, b in pairwise(widths)]
    parts: list[nn.Module] = []
    for layer in dense[:-1]:
        parts += [layer, nn.SiLU(), nn.Dropout(settings.dropout)]
    return nn.Sequential(*parts, dense[-1]), dense


def _batches(rows: torch.Tensor, size: int, draws: torch.Generator) -> Iterator[torch.Tensor]:
    order = rows[torch.randperm(len(rows), generator=draws)]
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _regression_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Gaussian likelihood, weighted by the standard deviation so that hard rows are not given up.

    Seitzer et al., ICLR 2022 (beta = 0.5).
    """
    log_variance = outputs[:, 1].clamp(*LOG_VARIANCE)
    likelihood = (outputs[:, 0] - targets) ** 2 * torch.exp(-log_variance) + log_variance
    return (likelihood * torch.exp(log_variance.detach() / 2)).mean()


def _classification_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets)


def _stacked(members: Sequence[Sequence[nn.Linear]]) -> list[Layer]:
    """The dense layers of all members together."""
    return [
        Layer(
            np.stack([np.ascontiguousarray(layer.weight.detach().numpy().T) for layer in layers]),
            np.stack([layer.bias.detach().numpy()[None] for layer in layers]),
        )
        for layers in zip(*members, strict=True)
    ]


def _judged(ensemble: Ensemble, table: Table, folds: NDArray[np.int64], settings: Settings) -> Ensemble:
    """The ensemble with its calibration and its metrics."""
    card = ensemble.card
    inside = folds >= 0
    alone = _of_own_fold(ensemble.members(table.features[inside]), folds[inside])
    labels = table.targets[inside]
    if card.kind == "pu":
        card = replace(card, centre=expected_recall_shift(alone[:, 0], labels, _RECALL))
    else:
        wanted = (transform(card.target).forward(labels) - card.centre) / card.scale
        card = replace(card, noise=noise_of(wanted - alone[:, 0], np.exp(np.clip(alone[:, 1], *LOG_VARIANCE) / 2)))
    calibrated = replace(ensemble, card=card)
    predicted = calibrated.predict(table.features[~inside])
    measure = score_metrics if card.kind == "pu" else regression_metrics
    metrics = measure(table.targets[~inside], predicted, card) | fold_metrics(labels, alone, card)
    own = {"folds": [int((folds == fold).sum()) for fold in range(settings.members)], "test": int((~inside).sum())}
    return replace(
        calibrated, card=replace(card, metrics=metrics, training={**card.training, **_plain(settings), **own})
    )


def _of_own_fold(outputs: Reals, folds: NDArray[np.int64]) -> Reals:
    """Of outputs of all members (K, N, outputs) those of the member that left the row's fold out, (N, outputs)."""
    return outputs[folds, np.arange(outputs.shape[1])]


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values."""
    return {name: getattr(settings, name) for name in Settings.__slots__} | {"hidden": list(settings.hidden)}
