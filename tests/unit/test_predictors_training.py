"""Ensembles learn what can be learned, know what they do not know, and survive their file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from matinvent.errors import CheckpointError, ConfigError, InputError
from matinvent.predictors import ensemble as ensemble_module
from matinvent.predictors.ensemble import Card, Ensemble, read_card
from matinvent.predictors.features import feature_names
from matinvent.predictors.metrics import area_under_curve, expected_recall_shift, noise_of
from matinvent.predictors.split import is_test
from matinvent.predictors.targets import TRANSFORMS, transform
from matinvent.predictors.training import Settings, Table, train

BLOCKS = ("cell",)
INPUTS = len(feature_names(BLOCKS))
SETTINGS = Settings(hidden=(16, 16), epochs=20, batch=64, rate=5e-3, dropout=0.0)


def card(**changes) -> Card:
    known = Card("toughness", "GPa", "How tough.", (0.0, 1e6), "made up", "regression", "log10", BLOCKS, [8, 22])
    return replace(known, **changes)


def noisy(rows: int = 2000, seed: int = 0) -> Table:
    """log10 of the target follows two features; its noise grows with a third from nothing to 0.4."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, INPUTS)).astype(np.float32)
    noise = 0.2 * (1 + np.tanh(2 * features[:, 2])) * rng.normal(size=rows)
    targets = 10 ** (1 + 0.5 * features[:, 0] - 0.3 * features[:, 1] + noise)
    return Table(features, targets, [f"{i % 90 + 1}:1 {i // 90 + 1}:3" for i in range(rows)])


@pytest.fixture(scope="module")
def trained() -> Ensemble:
    return train(noisy(), card(), SETTINGS)


def test_an_ensemble_learns_and_knows_its_noise(trained):
    metrics = trained.card.metrics
    assert metrics["r2_learned"] > 0.8
    assert metrics["mae_uncertain"] > 2 * metrics["mae_rest"]
    assert metrics["mae"] < 0.7 * metrics["mae_of_mean"]
    fresh = noisy(seed=1)
    predicted = trained.predict(fresh.features)
    errors = np.abs(predicted.mean - fresh.targets)
    assert 0.6 < (errors < predicted.deviation).mean() < 0.95


def test_far_from_the_data_the_members_disagree(trained):
    near, far = np.zeros((1, INPUTS), np.float32), np.full((1, INPUTS), 30.0, np.float32)
    spread = [trained.members(row)[:, 0, 0].std() for row in (near, far)]
    assert spread[1] > 3 * spread[0]
    assert np.isfinite(trained.predict(1e6 * far).mean).all()


def test_the_test_formulas_are_never_seen():
    table = noisy()
    spoiled = table.targets.copy()
    spoiled[is_test(table.keys)] = 1e5
    few = replace(SETTINGS, epochs=2)
    one, other = train(table, card(), few), train(replace(table, targets=spoiled), card(), few)
    assert np.array_equal(one.members(table.features), other.members(table.features))
    assert one.card.noise == other.card.noise
    assert one.card.metrics["mae"] < other.card.metrics["mae"]


def test_training_repeats_itself():
    few = replace(SETTINGS, epochs=2)
    versions = [train(noisy(), card(), settings).version for settings in (few, few, replace(few, seed=1))]
    assert versions[0] == versions[1] != versions[2]


def test_positive_unlabelled_learning_finds_hidden_positives():
    rng = np.random.default_rng(0)
    table = noisy(3000)
    positive = table.features[:, 0] > 0.3
    labelled = positive & (rng.random(3000) < 0.6)  # 40 % of the positives hide among the unlabelled
    found = train(
        replace(table, targets=labelled.astype(float)), card(kind="pu", target="identity", bounds=(0.0, 1.0)), SETTINGS
    )
    assert found.card.metrics["true_positive_rate"] > 0.85
    score = found.predict(table.features)
    hidden = positive & ~labelled
    assert (score.mean[hidden] > 0.5).mean() > 0.85
    assert (score.mean[~positive] > 0.5).mean() < 0.15
    assert ((score.mean >= 0) & (score.mean <= 1) & (score.deviation >= 0)).all()


def test_a_file_gives_the_same_predictions(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    trained.save(path)
    loaded = Ensemble.load(path)
    features = noisy(50, seed=2).features
    assert np.array_equal(trained.predict(features).mean, loaded.predict(features).mean)
    assert loaded.version == trained.version
    assert read_card(path).metrics == trained.card.metrics


def test_predictions_are_cut_off_at_the_bounds(trained):
    narrow = replace(trained, card=replace(trained.card, bounds=(9.0, 11.0)))
    predicted = narrow.predict(noisy(200).features)
    assert (predicted.mean.min(), predicted.mean.max()) == (9.0, 11.0)
    assert predicted.deviation.max() <= 2.0


@pytest.mark.parametrize("keep", [0, 7, 200, 0.9])
def test_truncated_files_are_named(trained, tmp_path, keep):
    path = tmp_path / "model.safetensors"
    trained.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        Ensemble.load(path)


def test_other_files_and_other_features_are_refused(trained, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="no such file"):
        Ensemble.load(path)
    replace(trained, card=replace(trained.card, blocks=("pairs",))).save(path)
    with pytest.raises(CheckpointError, match="train it again"):
        Ensemble.load(path)
    monkeypatch.setattr(ensemble_module, "FORMAT", "matinvent-predictor-9")
    with pytest.raises(CheckpointError, match="matinvent-predictor-9"):
        Ensemble.load(path)


def test_what_cannot_be_learned_is_said():
    with pytest.raises(InputError, match="too few"):
        train(noisy(100), card(), SETTINGS)
    table = noisy()
    with pytest.raises(InputError, match="equal"):
        train(replace(table, targets=np.ones(len(table.targets))), card(), SETTINGS)
    with pytest.raises(ConfigError, match="cube"):
        transform("cube")


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_invert_and_know_their_slope(name):
    way, values = TRANSFORMS[name], np.array([0.3, 1.0, 40.0])
    learned = way.forward(values)
    assert way.inverse(learned) == pytest.approx(values)
    assert way.slope(learned) == pytest.approx((way.inverse(learned + 1e-6) - values) / 1e-6, rel=1e-4)


def test_calibration_finds_the_noise():
    rng = np.random.default_rng(0)
    claimed = rng.uniform(0.5, 2.0, 20_000)
    factor, floor = noise_of(2 * claimed * rng.normal(size=20_000), claimed)
    assert factor == pytest.approx(2, rel=0.1)
    assert floor < 0.4
    assert area_under_curve(np.array([True, False, True, False]), np.array([3.0, 1.0, 2.0, 2.0])) == 0.875
    scores = np.linspace(-2, 2, 101)
    shift = expected_recall_shift(scores, np.ones(101), 0.9)
    assert (scores + shift > 0).mean() == pytest.approx(0.9, abs=0.02)
