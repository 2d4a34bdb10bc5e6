"""The quality of a sample for people and programs: a table on the terminal, metrics.json and metrics.csv."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from matinvent import __version__
from matinvent.errors import InputError
from matinvent.reporting.screened import write_csv
from matinvent.screening.quality import QUANTILES, STABLE, Quality, Spread, is_relaxed, wilson

if TYPE_CHECKING:
    from matinvent.candidate import Candidate
    from matinvent.config_screening import ScreeningConfig

#: What a report is made of, in the types of JSON; see :func:`collect`.
Metrics = dict[str, Any]

JSON_FILE = "metrics.json"
CSV_FILE = "metrics.csv"

#: Counts: name -> (title, what it is a part of). Braces are filled with the limits of stability (eV/atom).
_COUNTS = {
    "sampled": ("crystals", "sampled"),
    "built": ("read", "sampled"),
    "valid": ("structurally valid", "sampled"),
    "smact": ("charge-balanced (SMACT)", "sampled"),
    "valid_smact": ("valid and charge-balanced", "sampled"),
    "relaxed": ("relaxed to a possible crystal", "sampled"),
    "converged": ("  converged, of the relaxed", "relaxed"),
    "given_up": ("  given up early, of the relaxed", "relaxed"),
    "placed": ("  with a hull, of the relaxed", "relaxed"),
    "unique": ("  unique, of the relaxed", "relaxed"),
    "novel": ("  novel, of the relaxed", "relaxed"),
    "stable": ("E_hull < {stable:g} eV/atom", "sampled"),
    "metastable": ("E_hull < {limit:g} eV/atom", "sampled"),
    "unique_metastable": ("  unique, of those below {limit:g}", "metastable"),
    "novel_metastable": ("  novel, of those below {limit:g}", "metastable"),
    "sun_stable": ("SUN at {stable:g}, any charges", "sampled"),
    "sun_any_charge": ("SUN at {limit:g}, any charges", "sampled"),
    "sun": ("SUN at {limit:g}, charge-balanced", "sampled"),
}
_LAST_OF_SECTION = frozenset(("valid_smact", "novel", "novel_metastable"))
_OF_HULLS = frozenset(
    ("placed", "stable", "metastable", "unique_metastable", "novel_metastable", "sun_stable", "sun_any_charge", "sun")
)
_SPREADS = {
    "e_above_hull": ("E_hull (eV/atom)", 3),
    "rmsd": ("RMSD by relaxation (A)", 3),
    "volume_change": ("volume change", 3),
    "relax_steps": ("relaxation steps", 0),
}
_COVERAGE = {
    "elements": "elements",
    "formulas": "formulas",
    "chemical_systems": "chemical systems",
    "space_groups": "space groups",
}


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a report's numbers depend on.

    Attributes:
        files: what the user named.
        screening: the settings.
        potential: name of the energy scale.
        known_crystals: size of the reference set.
        hull_vertices: size of its hull.
    """

    files: Sequence[str]
    screening: ScreeningConfig
    potential: str
    known_crystals: int
    hull_vertices: int


def collect(
    quality: Quality, candidates: Sequence[Candidate], groups: Sequence[str], conditions: Conditions
) -> Metrics:
    """Everything a report says.

    Args:
        quality: counts and spreads of the sample.
        candidates: the sample, for what its relaxed crystals cover.
        groups: their space groups; empty where undetermined.
        conditions: what the numbers depend on.

    Returns:
        ``conditions`` and the version of this package; ``limit`` of stability; ``counts``: name -> count, of what,
        share and its 95 % interval (Wilson); ``spreads``; ``coverage``: how many different elements, formulas,
        chemical systems and space groups the relaxed crystals have; ``failures``: kind -> count.
        What was not measured is None.
    """
    relaxed = [(c.final, group) for c, group in zip(candidates, groups, strict=True) if is_relaxed(c) and c.final]
    crystals = [crystal for crystal, _ in relaxed]
    skipped = _not_measured(conditions.screening)
    return {
        "matinvent": __version__,
        "conditions": {**asdict(conditions), "screening": conditions.screening.model_dump(mode="json")},
        "limit": quality.limit,
        "counts": {
            name: _share(None if name in skipped else getattr(quality, name), of, getattr(quality, of))
            for name, (_, of) in _COUNTS.items()
        },
        "spreads": {name: _spread(getattr(quality, name)) for name in _SPREADS},
        "coverage": {
            "elements": len({element.symbol for crystal in crystals for element in crystal.composition}),
            "formulas": len({crystal.composition.reduced_formula for crystal in crystals}),
            "chemical_systems": len({crystal.chemical_system for crystal in crystals}),
            "space_groups": len({group for _, group in relaxed if group}),
        },
        "failures": quality.failures,
    }


def _not_measured(screening: ScreeningConfig) -> frozenset[str]:
    """Counts that the settings leave without a meaning."""
    skipped = frozenset() if screening.stability else _OF_HULLS
    if not screening.relaxation.enabled:
        skipped |= {"converged"}
    if not (screening.relaxation.enabled and screening.relaxation.give_up):
        skipped |= {"given_up"}
    return skipped | {"sun_stable", "sun_any_charge"} if screening.validity.smact else skipped


def write_metrics(metrics: Metrics, folder: Path) -> None:
    """Write ``metrics.csv``, then ``metrics.json``, which is there as a whole or not at all."""
    write_csv(folder / CSV_FILE, _rows(metrics))
    part = folder / f"{JSON_FILE}.part"
    part.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / JSON_FILE)


def read_metrics(folder: Path) -> Metrics:
    """The report that :func:`write_metrics` left in a folder.

    Raises:
        InputError: there is none, or it is not one of ours.
    """
    file = folder / JSON_FILE
    try:
        metrics: Metrics = json.loads(file.read_text(encoding="utf-8"))
        tables(metrics)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not a report of an evaluation ({type(error).__name__}: {error})") from None
    return metrics


def tables(metrics: Metrics) -> RenderableType:
    """The report for a terminal of at least 80 columns."""
    coverage = ", ".join(f"{metrics['coverage'][name]} {title}" for name, title in _COVERAGE.items())
    lines = [f"The relaxed crystals cover {coverage}."]
    if metrics["failures"]:
        lost = ", ".join(f"{kind} {count}" for kind, count in metrics["failures"].items())
        lines.append(f"Not relaxed, or without a hull, by reason: {lost}.")
    return Group(_count_table(metrics), _spread_table(metrics), *map(Text, [*lines, *_notes(metrics["conditions"])]))


def _notes(conditions: Metrics) -> list[str]:
    """What one must know to compare the numbers with others."""
    screening = conditions["screening"]
    relaxation = screening["relaxation"]
    notes = [
        f"Relaxed with {conditions['potential']} to forces below {relaxation['fmax']:g} eV/A in at most "
        f"{relaxation['max_steps']} steps."
        if relaxation["enabled"]
        else f"Not relaxed: energies by {conditions['potential']} of the crystals as they are."
    ]
    notes.append(
        f"Reference set '{screening['reference']}': {conditions['known_crystals']:,} known crystals, "
        f"{conditions['hull_vertices']:,} on the hull."
    )
    if screening["validity"]["smact"]:
        notes.append("Crystals whose charges do not balance were not relaxed; the rest is said of the others.")
    if relaxation["enabled"] and relaxation["give_up"]:
        notes.append("Relaxations were given up early where hopeless: E_hull is an upper bound for those.")
    return notes


def _count_table(metrics: Metrics) -> Table:
    table = Table(title=f"Quality of {metrics['counts']['sampled']['count']} crystals", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("crystals", "share", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, (title, _) in _COUNTS.items():
        values = metrics["counts"][name]
        if name == "sampled" or values["count"] is None:
            continue
        cells = ["", ""]
        if values["share"] is not None:
            cells = [f"{values['share']:.1%}", f"{values['low']:.1%} - {values['high']:.1%}"]
        titled = title.format(stable=STABLE, limit=metrics["limit"])
        table.add_row(escape(titled), str(values["count"]), *(cell.replace("%", " %") for cell in cells))
        if name in _LAST_OF_SECTION:
            table.add_section()
    return table


def _spread_table(metrics: Metrics) -> Table:
    table = Table()
    table.add_column("of the relaxed", no_wrap=True)
    for heading in ("mean", *("median" if q == 0.5 else f"{q:.0%}".replace("%", " %") for q in QUANTILES)):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, (title, digits) in _SPREADS.items():
        values = metrics["spreads"][name]
        if values["n"]:
            numbers = (values["mean"], *values["quantiles"].values())
            table.add_row(escape(title), *(f"{number:.{digits}f}" for number in numbers))
    return table


def _share(count: int | None, of: str, total: int) -> dict[str, Any]:
    """A count with its share of what it is a part of; None where there is none."""
    if count is None or total == 0:
        return {"count": count, "of": of, "share": None, "low": None, "high": None}
    low, high = wilson(count, total)
    return {"count": count, "of": of, "share": count / total, "low": low, "high": high}


def _spread(values: Spread) -> dict[str, Any]:
    """A spread by names; NaN, which JSON does not know, becomes None."""
    quantiles = {f"{q:g}": _known(value) for q, value in zip(QUANTILES, values.quantiles, strict=True)}
    numbers = {"mean": values.mean, "median": values.median, "median_low": values.low, "median_high": values.high}
    return {"n": values.n, **{name: _known(value) for name, value in numbers.items()}, "quantiles": quantiles}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _rows(metrics: Metrics) -> list[list[object]]:
    """The report as one row per number."""
    rows: list[list[object]] = [["metric", "value", "of", "share", "low", "high"]]
    for name, values in metrics["counts"].items():
        rows.append([name, *(values[key] for key in ("count", "of", "share", "low", "high"))])
    for name, values in metrics["spreads"].items():
        rows.append([f"{name}_mean", values["mean"], "", "", "", ""])
        rows.append([f"{name}_median", values["median"], "", "", values["median_low"], values["median_high"]])
        rows.extend([f"{name}_quantile_{q}", value, "", "", "", ""] for q, value in values["quantiles"].items())
    for group in ("coverage", "failures"):
        rows.extend([f"{group}: {name}", count, "", "", "", ""] for name, count in metrics[group].items())
    return rows
