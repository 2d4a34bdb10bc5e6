"""How good predictions are, and how far they know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matinvent.predictors.targets import transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matinvent.predictors.ensemble import Card, Prediction

    Reals = NDArray[np.float64]

#: Share of the predictions that count as uncertain.
_UNCERTAIN = 0.2


def r2(truth: Reals, predicted: Reals) -> float:
    """Share of the variance that is explained; 0 where there is none."""
    total = ((truth - truth.mean()) ** 2).sum()
    return float(1 - ((truth - predicted) ** 2).sum() / total) if total > 0 else 0.0


def area_under_curve(positive: NDArray[np.bool_], scores: Reals) -> float:
    """Probability that a positive scores above another one (area under the ROC curve; ties count half)."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    count = positive.sum()
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (~positive).sum()))


def regression_metrics(truth: Reals, predicted: Prediction, card: Card) -> dict[str, float]:
    """Errors in the property's unit, explained variance, and what the uncertainties are worth.

    ``rms_deviation`` is what ``rmse`` should be if the uncertainties are right, ``mae_of_mean`` the error of the mean
    of the labels, ``within_1`` and ``within_2`` are the shares of errors below one and two standard deviations (normal:
    0.68, 0.95), ``mae_uncertain`` and ``mae_rest`` the errors of the 20 % with the largest deviations and of the rest.
    Where the property is learned under another transform, ``r2_learned`` and ``mae_learned`` are of what is learned.
    """
    error = np.abs(truth - predicted.mean)
    uncertain = most_uncertain(predicted.deviation)
    found = {
        "rows": float(len(truth)),
        "mae": float(error.mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": r2(truth, predicted.mean),
        "rms_deviation": float(np.sqrt((predicted.deviation**2).mean())),
        "mae_of_mean": float(np.abs(truth - truth.mean()).mean()),
        "within_1": float((error <= predicted.deviation).mean()),
        "within_2": float((error <= 2 * predicted.deviation).mean()),
        "mae_uncertain": float(error[uncertain].mean()),
        "mae_rest": float(error[~uncertain].mean()),
    }
    if card.target != "identity":
        forward = transform(card.target).forward
        found["r2_learned"] = r2(forward(truth), forward(predicted.mean))
        found["mae_learned"] = float(np.abs(forward(truth) - forward(predicted.mean)).mean())
    return found


def score_metrics(truth: Reals, predicted: Prediction, _: Card) -> dict[str, float]:
    """Ranking of positives before unlabelled ones, and both shares above one half."""
    positive = truth > 0.5
    uncertain = most_uncertain(predicted.deviation)
    error = np.abs(truth - predicted.mean)
    return {
        "rows": float(len(truth)),
        "auc": area_under_curve(positive, predicted.mean),
        "true_positive_rate": float((predicted.mean[positive] > 0.5).mean()),
        "unlabelled_above": float((predicted.mean[~positive] > 0.5).mean()),
        "auc_uncertain": area_under_curve(positive[uncertain], predicted.mean[uncertain]),
        "auc_rest": area_under_curve(positive[~uncertain], predicted.mean[~uncertain]),
        "mae_uncertain": float(error[uncertain].mean()),
        "mae_rest": float(error[~uncertain].mean()),
    }


def fold_metrics(truth: Reals, outputs: Reals, card: Card) -> dict[str, float]:
    """How good single members are on the fold that they left out: what settings are chosen by.

    Args:
        truth: labels, shape (N,).
        outputs: of the member that left out the row's fold, shape (N, outputs).
        card: of the model.
    """
    if card.kind == "pu":
        return {"folds_auc": area_under_curve(truth > 0.5, outputs[:, 0])}
    predicted = transform(card.target).inverse(outputs[:, 0] * card.scale + card.centre)
    predicted = np.clip(predicted, *card.bounds)
    return {"folds_mae": float(np.abs(truth - predicted).mean()), "folds_r2": r2(truth, predicted)}


def most_uncertain(deviation: Reals) -> NDArray[np.bool_]:
    """The 20 % with the largest deviations."""
    chosen = np.zeros(len(deviation), dtype=bool)
    chosen[np.argsort(-deviation, kind="stable")[: round(_UNCERTAIN * len(deviation))]] = True
    return chosen


def noise_of(residual: Reals, deviation: Reals) -> tuple[float, float]:
    """Factor on given standard deviations, and deviation to add, that make residuals most likely (Gaussian)."""
    factors, floors = np.geomspace(0.2, 5.0, 41), np.geomspace(1e-3, 1.0, 31)
    best, chosen = np.inf, (1.0, 0.0)
    for factor in factors:
        for floor in floors:
            variance = (factor * deviation) ** 2 + floor**2
            cost = float((residual**2 / variance + np.log(variance)).mean())
            if cost < best:
                best, chosen = cost, (float(factor), float(floor))
    return chosen


def expected_recall_shift(log_odds: Reals, truth: Reals, recall: float) -> float:
    """What to add to log-odds so that a share ``recall`` of the positives gets above zero; never below zero."""
    return max(0.0, -float(np.quantile(log_odds[truth > 0.5], 1 - recall)))
