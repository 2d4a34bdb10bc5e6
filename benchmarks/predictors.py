"""Shipped predictors on formulas that they never saw, beside what a user would do at first.

    python benchmarks/predictors.py DATA --features features.npz       # all, one Markdown table
    python benchmarks/predictors.py DATA -p band_gap --seed 1          # trained anew, with another seed

DATA is a folder with mp_labels.parquet and mp_structures.parquet. The split is that of the package (a hash of the
formula), so that the shipped models have seen none of the test formulas. The baseline is gradient boosting
(scikit-learn, default settings) on the mean of CHGNet's 64 readout features, trained on the same rows; "mean" is the
error of the mean of the labels. Describing 85,000 crystals takes about ten minutes on one core; with --features it is
done once. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from setting import processor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from matinvent.cli.label_tables import read_labels
from matinvent.cli.output import progress_bar
from matinvent.errors import Failure
from matinvent.predictors.catalogue import SPECS, Spec, shipped_models
from matinvent.predictors.dataset import FeatureFile
from matinvent.predictors.ensemble import Ensemble, Prediction
from matinvent.predictors.features import block_names, feature_names
from matinvent.predictors.inputs import Inputs
from matinvent.predictors.metrics import regression_metrics, score_metrics
from matinvent.predictors.split import formula_key, is_test
from matinvent.predictors.targets import transform
from matinvent.predictors.training import Settings, Table, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-p", "--property", action="append", choices=list(SPECS), help="only these; repeatable")
    parser.add_argument("--features", type=Path, help="keeps features of crystals")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, help="train anew instead of asking the shipped models")
    options = parser.parse_args()
    print(f"{processor()}\n")
    print("| property | crystals | tested | measure | mean | boosting | ours | ratio | 20 % uncertain / rest |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.property or SPECS:
        print(row(SPECS[name], options), flush=True)


def row(spec: Spec, options: argparse.Namespace) -> str:
    """One line of the table."""
    features, targets, keys = load(spec, options)
    test = is_test(keys)
    model = Ensemble.load(shipped_models()[spec.name])
    inputs = Inputs.of(model.card).make(features, keys)
    if options.seed is not None:
        model = train(Table(inputs, targets, keys), model.card, Settings.for_rows(len(targets), options.seed))
    predicted = model.predict(inputs[test])
    seconds = statistics.median(timed(model, inputs[:1]) for _ in range(20))
    simple = Prediction(boosting(spec, features, targets, test), np.zeros(int(test.sum())))
    if spec.kind == "pu":
        ours, theirs = (score_metrics(targets[test], each, model.card) for each in (predicted, simple))
        cells = [
            "1 - AUC", "0.5", f"{1 - theirs['auc']:.3f}", f"{1 - ours['auc']:.3f}",
            f"{(1 - ours['auc']) / (1 - theirs['auc']):.2f}", f"{ours['mae_uncertain'] / ours['mae_rest']:.1f}",
        ]  # fmt: skip
        note = f"true positives {ours['true_positive_rate']:.1%}, unlabelled above {ours['unlabelled_above']:.1%}"
    else:
        ours, theirs = (regression_metrics(targets[test], each, model.card) for each in (predicted, simple))
        cells = [
            f"MAE, {spec.unit}", f"{ours['mae_of_mean']:.3g}", f"{theirs['mae']:.3g}", f"{ours['mae']:.3g}",
            f"{ours['mae'] / theirs['mae']:.2f}", f"{ours['mae_uncertain'] / ours['mae_rest']:.1f}",
        ]  # fmt: skip
        kind = "r2_learned" if "r2_learned" in ours else "r2"
        note = f"R2{' of ' + spec.transform if kind != 'r2' else ''} {ours[kind]:.3f} (boosting {theirs[kind]:.3f})"
    first = f"{spec.name}: {note}; {1e3 * seconds:.1f} ms without features"
    return "| " + " | ".join([first, f"{len(targets)}", f"{test.sum()}", *cells]) + " |"


def load(spec: Spec, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """All features, labels and formulas of the crystals that can be described."""
    tables = options.data / "mp_labels.parquet", options.data / "mp_structures.parquet"
    crystals = read_labels(tables[0], spec.column, spec.plausible, tables[1])
    with progress_bar(f"{spec.name}: features") as progress:
        rows = FeatureFile(options.features).describe(crystals.structures, options.workers, progress)
    kept = [i for i, made in enumerate(rows) if not isinstance(made, Failure)]
    keys = [formula_key(np.array(crystals.structures[i].atomic_numbers)) for i in kept]
    return np.stack([rows[i] for i in kept]), np.array([crystals.values[i] for i in kept]), keys


def boosting(spec: Spec, features: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """What default gradient boosting on the 64-dimensional crystal feature says of the test rows."""
    names = feature_names(block_names())
    embedding = features[:, [names.index(f"chgnet.mean_{i}") for i in range(64, 128)]]
    if spec.kind == "pu":
        classifier = HistGradientBoostingClassifier(random_state=0).fit(embedding[~test], targets[~test])
        return classifier.predict_proba(embedding[test])[:, 1]
    way = transform(spec.transform)
    fitted = HistGradientBoostingRegressor(random_state=0).fit(embedding[~test], way.forward(targets[~test]))
    return np.clip(way.inverse(fitted.predict(embedding[test])), *spec.bounds)


def timed(model: Ensemble, inputs: np.ndarray) -> float:
    """Seconds to ask a model about one crystal with known features."""
    start = time.perf_counter()
    model.predict(inputs)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
