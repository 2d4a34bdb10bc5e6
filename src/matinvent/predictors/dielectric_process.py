"""A Gaussian process for properties with about a thousand labels, as one file.

On so few crystals it does better than networks, and far from all of them it grows uncertain. Its distance weighs groups
of features, so that two crystals are alike when they are alike in each of them. Asking it takes numpy and scipy
alone; the factorised covariance is made when a model is loaded (some 0.1 s), and is in no file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from matinvent.errors import CheckpointError, InputError
from matinvent.predictors.ensemble import FORMAT, Card, Prediction, read_card
from matinvent.predictors.metrics import noise_of, regression_metrics
from matinvent.predictors.split import fold_of, is_test
from matinvent.predictors.targets import transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Reals = NDArray[np.float64]

#: Features are cut off at so many standard deviations.
_FARTHEST = 5.0

#: Variances of the process, of its linear trend at weighted distance one from the mean crystal, and of the noise, in
#: units of the variance of the targets. Without the trend large values are lost.
_SIGNAL, _TREND, _NOISE = 1.5, 0.3, 0.25

_FOLDS = 5

#: Rows of fewer than this many crystals in a fold or in the test say nothing.
_FEWEST = 20


@dataclass(frozen=True)
class Process:
    """A Gaussian process with its training rows: N crystals, I inputs.

    The covariance is (1 + d)^(-1/2), heavy-tailed (rational quadratic), of the weighted mean square distance d, and a
    linear trend.

    Attributes:
        card: what is known of the model.
        weights: of each input in the distance, shape (I,).
        mean: of the inputs over the training rows, shape (I,).
        deviation: their standard deviations, shape (I,), positive.
        rows: standardised training inputs in steps of 5/127, shape (N, I).
        targets: standardised targets, shape (N,).
    """

    card: Card
    weights: Floats
    mean: Floats
    deviation: Floats
    rows: NDArray[np.int8]
    targets: Floats

    def predict(self, inputs: NDArray[np.floating[Any]]) -> Prediction:
        """Values and uncertainties of crystals.

        Args:
            inputs: shape (M, I).
        """
        learned, deviation = self.learned(inputs)
        way = transform(self.card.target)
        lower, upper = self.card.bounds
        learned = learned * self.card.scale + self.card.centre
        factor, floor = self.card.noise
        spread = np.hypot(factor * deviation, floor) * self.card.scale * way.slope(learned)
        return Prediction(np.clip(way.inverse(learned), lower, upper), np.minimum(spread, upper - lower))

    def learned(self, inputs: NDArray[np.floating[Any]]) -> tuple[Reals, Reals]:
        """Means and standard deviations of standardised targets, shape (M,) each, before calibration."""
        from scipy.linalg import solve_triangular

        known, factor, solution = self._solved
        values = np.clip((np.asarray(inputs, dtype=np.float64) - self.mean) / self.deviation, -_FARTHEST, _FARTHEST)
        covariance = _covariance(values * np.sqrt(self.weights), known)
        explained = solve_triangular(factor, covariance.T, lower=True)
        trend = _TREND * (values**2 @ self.weights.astype(np.float64))
        variance = _SIGNAL + trend + _NOISE - (explained**2).sum(axis=0)
        return covariance @ solution, np.sqrt(np.maximum(variance, _NOISE))

    @cached_property
    def _solved(self) -> tuple[Reals, Reals, Reals]:
        """Weighted training rows, the factorised covariance between them, and its solution for the targets."""
        from scipy.linalg import cho_solve, cholesky

        known: Reals = self.rows.astype(np.float64) * (_FARTHEST / 127) * np.sqrt(self.weights.astype(np.float64))
        factor = cholesky(_covariance(known, known) + _NOISE * np.eye(len(known)), lower=True)
        return known, factor, cho_solve((factor, True), self.targets.astype(np.float64))

    @cached_property
    def version(self) -> str:
        """Changes whenever a prediction may change."""
        digest = hashlib.sha256(json.dumps(asdict(self.card), sort_keys=True).encode())
        for array in self._arrays().values():
            digest.update(array.tobytes())
        return digest.hexdigest()[:12]

    def save(self, path: Path) -> None:
        """Write the model atomically."""
        header = {"format": FORMAT, "card": json.dumps(asdict(self.card), allow_nan=False)}
        temporary = path.with_name(path.name + ".part")
        save_file(self._arrays(), temporary, metadata=header)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Process:
        """Read a model.

        Raises:
            CheckpointError: the file is missing, damaged, or no Gaussian process.
        """
        card = read_card(path)
        try:
            with safe_open(path, framework="numpy") as file:
                return cls(card, *(file.get_tensor(f"process.{name}") for name in _ARRAYS))
        except SafetensorError as error:
            raise CheckpointError(f"{path}: no Gaussian process ({error})") from None

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {f"process.{name}": np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}


_ARRAYS = ("weights", "mean", "deviation", "rows", "targets")


def train_process(
    inputs: Floats, targets: Reals, keys: Sequence[str], groups: Mapping[str, tuple[int, float]], card: Card
) -> Process:
    """Fit a process, calibrate its uncertainty on formulas left out, and measure it on the test formulas.

    Args:
        inputs: shape (N, I).
        targets: of the property, shape (N,).
        keys: formulas (see :func:`~matinvent.predictors.split.formula_key`), length N.
        groups: name -> number of inputs and weight, in the order of the inputs. One standard deviation in all inputs of
            a group is as far as the weight says.
        card: what is known beforehand: name, unit, bounds, transform, elements.

    Raises:
        InputError: too few rows to train, to calibrate or to test; all targets are equal.
    """
    test = is_test(keys)
    folds = np.where(test, -1, fold_of(keys, _FOLDS))
    counts = [int((folds == fold).sum()) for fold in range(-1, _FOLDS)]
    if min(counts) < _FEWEST:
        raise InputError(
            f"{len(keys)} labelled crystals are too few: test formulas {counts[0]}, folds "
            f"{', '.join(map(str, counts[1:]))}; each needs {_FEWEST}"
        )
    weights = np.concatenate([np.full(count, weight / count) for count, weight in groups.values()]).astype(np.float32)
    learned = transform(card.target).forward(targets)
    residuals, deviations = [], []
    for fold in range(_FOLDS):
        own = folds == fold
        part = _fit(inputs[~test & ~own], learned[~test & ~own], weights, card)
        mean, deviation = part.learned(inputs[own])
        residuals.append((learned[own] - part.card.centre) / part.card.scale - mean)
        deviations.append(deviation)
    whole = _fit(inputs[~test], learned[~test], weights, card)
    noise = noise_of(np.concatenate(residuals), np.concatenate(deviations))
    calibrated = replace(whole, card=replace(whole.card, noise=noise))
    metrics = regression_metrics(targets[test], calibrated.predict(inputs[test]), card)
    training = {**card.training, "crystals": int((~test).sum()), "test": int(test.sum())}
    return replace(calibrated, card=replace(calibrated.card, metrics=metrics, training=training))


def _fit(inputs: Floats, learned: Reals, weights: Floats, card: Card) -> Process:
    """A process without calibration."""
    centre, scale = float(learned.mean()), float(learned.std())
    if scale < 1e-12:
        raise InputError("all targets are equal: there is nothing to learn")
    mean, deviation = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
    # A feature that is the same everywhere but for rounding tells nothing.
    constant = deviation < 1e-5 * (1 + np.abs(inputs).max(axis=0))
    deviation = np.where(constant, 1e6, deviation)
    steps = np.rint(np.clip((inputs - mean) / deviation, -_FARTHEST, _FARTHEST) * (127 / _FARTHEST))
    return Process(
        replace(card, centre=centre, scale=scale, noise=(1.0, 0.0)),
        weights,
        mean.astype(np.float32),
        deviation.astype(np.float32),
        steps.astype(np.int8),
        ((learned - centre) / scale).astype(np.float32),
    )


def _covariance(left: Reals, right: Reals) -> Reals:
    """Covariance of weighted rows, shape (L, R)."""
    products = left @ right.T
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * products
    return _SIGNAL / np.sqrt(1.0 + np.maximum(squares, 0.0)) + _TREND * products
