"""Model cards: what a predictor learned from, and how good it is, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matinvent.predictors.ensemble import Card

Rows = list[tuple[str, str]]


def card_rows(card: Card) -> Rows:
    """A predictor in label and text."""
    training = card.training
    unit = "" if card.unit == "1" else f" {card.unit}"
    rows = [
        ("what", card.description),
        ("unit", card.unit),
        ("bounds of predictions", f"{card.bounds[0]:g} .. {card.bounds[1]:g}{unit}"),
        ("labels", card.source),
        ("data", str(training.get("data", "not recorded"))),
        ("elements", str(len(card.elements))),
    ]
    if "folds" in training:
        inside = sum(training["folds"])
        rows.append(
            (
                "split",
                f"by formula: {inside} crystals in {len(training['folds'])} folds, {training['test']} for the test",
            )
        )
        widths = " - ".join(map(str, training["hidden"]))
        seen = ", ".join([*card.blocks, *(f"predicted {name}" for name in card.parents)])
        rows.append(("networks", f"{training['members']}, hidden layers {widths}; features: {seen}"))
        steps = f"{training['epochs']} epochs, batch {training['batch']}, seed {training['seed']}"
        rows.append(("training", f"{steps}; learned: {_learned(card)}"))
    elif "crystals" in training:
        rows.append(("split", f"by formula: {training['crystals']} crystals, {training['test']} for the test"))
    return rows + (_score_rows(card) if card.kind == "pu" else _error_rows(card, unit))


def card_text(card: Card) -> str:
    """A predictor as a section of Markdown."""
    lines = [f"# {card.name}", "", "| | |", "|---|---|", *(f"| {label} | {text} |" for label, text in card_rows(card))]
    return "\n".join([*lines, ""])


def _learned(card: Card) -> str:
    if card.kind == "pu":
        return "positives against a random bag of unlabelled crystals in each network"
    return f"the {card.name} itself" if card.target == "identity" else f"{card.target} of {card.name}"


def _error_rows(card: Card, unit: str) -> Rows:
    found = card.metrics
    if not found:
        return []
    rows = [
        ("test MAE", f"{found['mae']:.4g}{unit} (the mean of the labels: {found['mae_of_mean']:.4g})"),
        ("test RMSE", f"{found['rmse']:.4g}{unit} (expected from the uncertainties: {found['rms_deviation']:.4g})"),
        ("test R2", f"{found['r2']:.3f}"),
    ]
    if "r2_learned" in found:
        rows.append((f"test R2 of {card.target}", f"{found['r2_learned']:.3f} (MAE {found['mae_learned']:.4g})"))
    rows.append(
        ("errors within 1 and 2 deviations", f"{found['within_1']:.0%}, {found['within_2']:.0%} (normal: 68 %, 95 %)")
    )
    rows.append(
        ("MAE of the 20 % most uncertain", f"{found['mae_uncertain']:.4g}{unit}; of the rest {found['mae_rest']:.4g}")
    )
    return rows


def _score_rows(card: Card) -> Rows:
    found = card.metrics
    if not found:
        return []
    return [
        ("test AUC", f"{found['auc']:.3f}"),
        ("positives above 0.5", f"{found['true_positive_rate']:.1%} of those of the test formulas"),
        ("unlabelled above 0.5", f"{found['unlabelled_above']:.1%}"),
        ("AUC of the 20 % most uncertain", f"{found['auc_uncertain']:.3f}; of the rest {found['auc_rest']:.3f}"),
    ]
