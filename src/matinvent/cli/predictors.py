"""``matinvent predictor``: models that learn a property from labelled crystals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Column, Table

from matinvent.cli.campaigns import INTERRUPTED
from matinvent.cli.output import checked_bar, console, error_console, progress_bar, refuse_existing
from matinvent.errors import ConfigError, Failure, InputError
from matinvent.interrupt import Interrupted, catch_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from matinvent.cli.label_tables import LabelledCrystals
    from matinvent.predictors.catalogue import Spec
    from matinvent.predictors.dielectric_process import Process
    from matinvent.predictors.ensemble import Card, Ensemble
    from matinvent.predictors.training import Table as TrainingTable

app = typer.Typer(help="Train, list and describe models that predict a property from labels.")

_UNBOUNDED = (float("-inf"), float("inf"))

#: Predictions may go beyond the labels by this share of their range.
_BEYOND = 0.25

#: Choices that only networks leave open.
_OF_NETWORKS = frozenset(("unit", "transform", "plausible", "kind", "parents"))

#: Crystals between two signs of life.
_CHUNK = 16


@app.command()
def train(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="CSV or Parquet table of labelled crystals.")],
    *,
    name: Annotated[
        str,
        typer.Option(
            "--property",
            metavar="NAME",
            help="What to call the property. For a shipped one (matinvent predictor list) column, unit, transform and "
            "range are known.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model to write, NAME.safetensors.")],
    structures: Annotated[
        Path | None,
        typer.Option(
            help="Crystals by id: a Parquet table of material_id, species, abc (A), angles (deg), frac_coords, or "
            "files named by id. Without it LABELS has them: text in a column 'structure', or names in a column 'file'.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the labels; default: NAME.", show_default=False)
    ] = None,
    id_column: Annotated[str, typer.Option("--id", metavar="COLUMN", help="Column of the ids.")] = "material_id",
    unit: Annotated[str | None, typer.Option(help="Unit of the labels; 1: none.", show_default=False)] = None,
    transform: Annotated[
        str | None, typer.Option(help="What is learned: identity, log10 or log1p of the labels.", show_default=False)
    ] = None,
    plausible: Annotated[
        tuple[float, float] | None,
        typer.Option("--range", metavar="LOW HIGH", help="Labels outside are left out.", show_default=False),
    ] = None,
    kind: Annotated[
        Literal["regression", "pu"] | None,
        typer.Option(help="pu: labels are 1 (positive) and 0 (unlabelled), learned is a score.", show_default=False),
    ] = None,
    parents: Annotated[
        list[str] | None,
        typer.Option(
            "--parent",
            metavar="PREDICTOR",
            help="Shipped predictor whose prediction is a feature too; repeatable. Helps where labels are few.",
            show_default=False,
        ),
    ] = None,
    description: Annotated[str | None, typer.Option(help="One sentence.", show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="Where the labels come from.", show_default=False)] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Keeps what is computed of crystals for the next training."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes through the data.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and bags.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that describe crystals; 0: one per CPU core.")] = 0,
) -> None:
    """Train an ensemble on labelled crystals; writes the model and a model card beside it.

    Five small networks see CHGNet's view of a crystal, its composition, cell, neighbour distances and energy. A tenth
    of the formulas is set aside for the test by a hash, whatever the property.

    [bold]Examples[/bold]
    $ matinvent predictor train mine.csv --property hardness --unit GPa --transform log10 -o hardness.safetensors
    $ matinvent predictor train labels.parquet --structures crystals.parquet --property band_gap -o gap.safetensors
    $ matinvent predictor show hardness.safetensors
    """
    refuse_existing(output)
    card_file = output.with_suffix(".md")
    refuse_existing(card_file)
    given = {
        "column": target, "unit": unit, "transform": transform, "plausible": plausible,
        "kind": kind, "description": description, "source": source,
        "parents": None if parents is None else tuple(parents),
    }  # fmt: skip
    spec = _spec(name, labels, {key: value for key, value in given.items() if value is not None})
    if spec.method == "process" and {key for key, value in given.items() if value is not None} & _OF_NETWORKS:
        raise ConfigError(f"--property {name}: is learned by a Gaussian process of its own; name only the --target")
    from matinvent.cli.label_tables import read_labels
    from matinvent.predictors.card import card_text

    crystals = read_labels(labels, spec.column, spec.plausible, structures, id_column)
    _check_labels(crystals, spec)
    ensemble = _train(crystals, spec, [labels, structures], features, epochs, seed, workers)
    output.parent.mkdir(parents=True, exist_ok=True)
    ensemble.save(output)
    card_file.write_text(card_text(ensemble.card), encoding="utf-8")
    console().print(_description(output.name, ensemble.card))
    called = name if spec.method == "process" else f"predictor:{name}"
    console().print(
        f"Use it: -p {called} --param {called}.model={output}, or in a campaign the property {called} with params: "
        f"{{model: {output}}}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


@app.command("list")
def list_models() -> None:
    """List the shipped predictors.

    [bold]Example[/bold]
    $ matinvent predictor list
    """
    from matinvent.predictors.catalogue import shipped_models
    from matinvent.predictors.ensemble import read_card

    table = Table(Column("predictor", no_wrap=True), "unit", "crystals", "test", "what")
    for name, path in shipped_models().items():
        card = read_card(path)
        rows = sum(card.training.get("folds", [card.training.get("crystals", 0)])) + card.training.get("test", 0)
        table.add_row(name, escape(card.unit), f"{rows}", escape(_quality(card)), escape(card.description))
    console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A shipped predictor or a file made by train.")],
) -> None:
    """What a predictor learned from, and how good it is on formulas it never saw.

    [bold]Example[/bold]
    $ matinvent predictor show band_gap
    """
    from matinvent.predictors.catalogue import find_model
    from matinvent.predictors.ensemble import read_card

    path = find_model(name)
    console().print(_description(name, read_card(path)))


def _spec(name: str, labels: Path, given: dict[str, object]) -> Spec:
    """What is known of the property, and what the user says of it."""
    from matinvent.predictors.catalogue import SPECS, Spec
    from matinvent.predictors.targets import transform
    from matinvent.properties.evaluator import PropertyInfo

    unknown = Spec(name, name, "1", f"{name}, learned from labels.", _UNBOUNDED, _UNBOUNDED, "identity", labels.name)
    spec = replace(SPECS.get(name, unknown), **given)  # type: ignore[arg-type]
    if spec.kind == "pu" and spec.transform != "identity":
        raise ConfigError(f"--transform {spec.transform}: --kind pu learns a score, which has no transform")
    if not spec.plausible[0] < spec.plausible[1]:
        raise ConfigError(f"--range {spec.plausible[0]:g} {spec.plausible[1]:g}: the second must be larger")
    transform(spec.transform)
    try:
        PropertyInfo(name, spec.unit, spec.description, (0.0, 1.0), "instant", spec.source)
    except ValueError as error:
        raise ConfigError(f"--property {name}: {error}") from None
    return spec


def _check_labels(crystals: LabelledCrystals, spec: Spec) -> None:
    """Refuse labels that the model cannot learn as asked."""
    from matinvent.predictors.targets import transform

    if spec.kind == "pu":
        other = next((value for value in crystals.values if value not in {0.0, 1.0}), None)
        if other is not None:
            raise InputError(f"{spec.column}: --kind pu needs labels 1 (positive) and 0 (unlabelled), found {other:g}")
        if len(set(crystals.values)) < 2:
            raise InputError(f"{spec.column}: --kind pu needs both positive (1) and unlabelled (0) crystals")
        return
    lower, upper = transform(spec.transform).domain
    outside = [value for value in crystals.values if not lower < value < upper]
    if outside:
        raise InputError(
            f"{spec.column}: {len(outside)} labels such as {outside[0]:g} have no {spec.transform}; leave them out "
            "with --range or choose another --transform"
        )


def _train(
    crystals: LabelledCrystals,
    spec: Spec,
    files: list[Path | None],
    features: Path | None,
    epochs: int | None,
    seed: int,
    workers: int,
) -> Ensemble | Process:
    """Describe the crystals, train, and say on the terminal what was left out."""
    from matinvent.predictors.training import Settings, train

    if spec.method == "process":
        return _train_process(crystals)
    settings = Settings.for_rows(len(crystals.values), seed)
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    try:
        with catch_signals() as signalled:

            def check() -> None:
                _stop_if(signalled())

            table, card = _described(crystals, spec, files, features, workers, check)
            with checked_bar(f"{settings.members} networks on {len(table.targets)} crystals", check) as progress:
                return train(table, card, settings, progress)
    except Interrupted:
        kept = f"; what was computed of crystals is in {features}" if features is not None else ""
        error_console().print(f"Interrupted{kept}.", soft_wrap=True, highlight=False)
        raise typer.Exit(INTERRUPTED) from None


def _train_process(crystals: LabelledCrystals) -> Process:
    """The model of few labels: its inputs rest on forces, so that they take longer than the training."""
    from matinvent.predictors.dielectric import make_inputs, train_dielectric

    rows: list[NDArray[np.float32] | Failure] = []
    with progress_bar(f"response of the ions in {len(crystals.names)} crystals") as progress:
        for start in range(0, len(crystals.structures), _CHUNK):
            rows += make_inputs(crystals.structures[start : start + _CHUNK])
            progress(len(rows) / len(crystals.structures))
    _report({**crystals.dropped, **Counter(row.kind for row in rows if isinstance(row, Failure))})
    kept = [(i, row) for i, row in enumerate(rows) if not isinstance(row, Failure)]
    if not kept:
        raise InputError(f"no crystal can be described: {rows[0]}")
    return train_dielectric(
        [crystals.structures[i] for i, _ in kept], [row for _, row in kept], [crystals.values[i] for i, _ in kept]
    )


def _stop_if(signalled: bool) -> None:
    if signalled:
        raise Interrupted


def _described(
    crystals: LabelledCrystals,
    spec: Spec,
    files: list[Path | None],
    features: Path | None,
    workers: int,
    check: Callable[[], None],
) -> tuple[TrainingTable, Card]:
    """The crystals as networks see them, and what is known of the model beforehand."""
    import numpy as np

    from matinvent.predictors.dataset import FeatureFile
    from matinvent.predictors.ensemble import Card
    from matinvent.predictors.inputs import Inputs
    from matinvent.predictors.split import formula_key
    from matinvent.predictors.training import Table, blocks_for

    with checked_bar(f"features of {len(crystals.names)} crystals", check) as progress:
        rows = FeatureFile(features).describe(crystals.structures, workers, progress)
    dropped = dict(crystals.dropped)
    for row in rows:
        if isinstance(row, Failure):
            dropped[row.kind] = dropped.get(row.kind, 0) + 1
    _report(dropped)
    kept = [position for position, row in enumerate(rows) if not isinstance(row, Failure)]
    if not kept:
        raise InputError(f"no crystal can be described: {rows[0]}")
    numbers = [np.array(crystals.structures[i].atomic_numbers) for i in kept]
    inputs = Inputs(blocks_for(len(kept)), dict.fromkeys(spec.parents, ""))
    keys = [formula_key(each) for each in numbers]
    table = Table(
        inputs.make(np.stack([row for row in rows if not isinstance(row, Failure)]), keys),
        np.array([crystals.values[i] for i in kept]),
        keys,
    )
    left_out = "; left out: " + ", ".join(f"{reason}: {count}" for reason, count in dropped.items()) if dropped else ""
    data = f"{', '.join(file.name for file in files if file is not None)}, column {spec.column}: {len(kept)} crystals"
    card = Card(
        name=spec.name,
        unit=spec.unit,
        description=spec.description,
        bounds=_bounds(spec, table.targets.min(), table.targets.max()),
        source=spec.source,
        kind=spec.kind,
        target=spec.transform,
        blocks=blocks_for(len(kept)),
        parents=inputs.parents,
        elements=sorted({int(z) for each in numbers for z in each}),
        training={"data": data + left_out},
    )
    return table, card


def _bounds(spec: Spec, least: float, most: float) -> tuple[float, float]:
    """Bounds of predictions: those of the property, or somewhat beyond the labels."""
    if spec.kind == "pu":
        return (0.0, 1.0)
    margin = _BEYOND * (most - least)
    lower, upper = spec.plausible
    outer = max(lower, float(least - margin)), min(upper, float(most + margin))
    return spec.bounds if spec.bounds != _UNBOUNDED else outer


def _report(dropped: dict[str, int]) -> None:
    for reason, count in dropped.items():
        error_console().print(f"left out, {escape(reason)}: {count}", soft_wrap=True, highlight=False)


def _quality(card: Card) -> str:
    """The test in a few words."""
    found = card.metrics
    if not found:
        return "not measured"
    if card.kind == "pu":
        return f"AUC {found['auc']:.3f}"
    learned = f", R2 of {card.target} {found['r2_learned']:.3f}" if "r2_learned" in found else f", R2 {found['r2']:.3f}"
    return f"MAE {found['mae']:.3g}{learned}"


def _description(name: str, card: Card) -> Table:
    from matinvent.predictors.card import card_rows

    table = Table("", "", title=f"Predictor {escape(name)}", title_justify="left", show_header=False)
    for label, text in card_rows(card):
        table.add_row(escape(label), escape(text))
    return table
