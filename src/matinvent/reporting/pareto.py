"""The Pareto front of a campaign: crystals that no other beats in every goal, and how the covered ground grew.

Everything comes from the ledger, so that a running campaign can be looked at, too. Fronts and hypervolumes are those
of the scores (see :mod:`matinvent.rewards.pareto`); penalties are no goals.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from matinvent.candidate import Candidate, Fate
from matinvent.config_goals import ObjectiveConfig
from matinvent.reporting.symmetry import space_group
from matinvent.rewards.pareto import hypervolume, pareto_front

TABLE = "front.csv"
VOLUMES = "hypervolume.csv"
FOLDER = "crystals"
_HEAD = ("rank", "formula", "space_group")
_TAIL = ("reward", "hit", "e_above_hull", "iteration", "index", "file")


@dataclass(frozen=True, slots=True)
class Growth:
    """The ground that was covered up to an iteration.

    Attributes:
        iteration: counted from 0.
        scored: crystals compared so far.
        hypervolume: share of all conceivable compromises that some crystal of this iteration matches or beats.
        cumulative: the same by any crystal so far.
        front: crystals in the front so far.
    """

    iteration: int
    scored: int
    hypervolume: float
    cumulative: float
    front: int


@dataclass(frozen=True, slots=True)
class Front:
    """A campaign's front.

    Attributes:
        goals: the objectives that are no penalties; the axes.
        compared: scored crystals that have a score of every goal, in order.
        members: those of them that no other beats, by their score of the first goal, best first; of equally good
            crystals of one composition the earliest.
        growth: one entry per iteration of the ledger, in order.
    """

    goals: tuple[ObjectiveConfig, ...]
    compared: tuple[Candidate, ...]
    members: tuple[Candidate, ...]
    growth: tuple[Growth, ...]


def trace_front(objectives: Sequence[ObjectiveConfig], candidates: Sequence[Candidate]) -> Front:
    """The front of all candidates and how it grew.

    Args:
        objectives: of the campaign, at least one of which is no penalty.
        candidates: of the ledger, by iteration. Those without a finite score of every goal are left out, and so are
            crystals that the user gave (they have a source).
    """
    goals = tuple(objective for objective in objectives if objective.role == "objective")
    names = [goal.property for goal in goals]
    found = [c for c in candidates if not c.source]
    compared = [c for c in found if c.fate is Fate.SCORED and _has_scores(c, names)]
    front: list[Candidate] = []
    growth: list[Growth] = []
    seen = 0
    for iteration in sorted({c.iteration for c in found}):
        new = [c for c in compared if c.iteration == iteration]
        seen += len(new)
        front = _undominated([*front, *new], names)  # what was beaten once stays beaten
        growth.append(Growth(iteration, seen, _volume(new, names), _volume(front, names), len(front)))
    front.sort(key=lambda c: [-score for score in _point(c, names)])
    return Front(goals, tuple(compared), tuple(front), tuple(growth))


def _has_scores(candidate: Candidate, names: Sequence[str]) -> bool:
    return all(math.isfinite(candidate.scores.get(name, math.nan)) for name in names)


def _point(candidate: Candidate, names: Sequence[str]) -> list[float]:
    return [candidate.scores[name] for name in names]


def _undominated(candidates: Sequence[Candidate], names: Sequence[str]) -> list[Candidate]:
    """The front of some candidates, without repetitions of a composition with the same scores."""
    if not candidates:
        return []
    inside = pareto_front([_point(c, names) for c in candidates])
    first: dict[tuple[str, ...], Candidate] = {}
    for candidate, member in zip(candidates, inside, strict=True):
        if member:
            first.setdefault((candidate.composition, *map(repr, _point(candidate, names))), candidate)
    return list(first.values())


def _volume(candidates: Sequence[Candidate], names: Sequence[str]) -> float:
    return hypervolume([_point(c, names) for c in candidates]) if candidates else 0.0


def titled(name: str, units: Mapping[str, str]) -> str:
    """A property with its unit for a heading: ``density (g/cm^3)``; of ``file.py:function`` the function."""
    unit = units.get(name, "")
    short = name.rsplit(":", 1)[-1]
    return f"{short} ({unit})" if unit not in {"", "1"} else short


def front_table(front: Front, units: Mapping[str, str], shown: int = 30) -> RenderableType:
    """The front and its growth for a terminal: raw values of the goals, at most ``shown`` crystals."""
    names = [goal.property for goal in front.goals]
    table = Table(title=f"Pareto front: {len(front.members)} of {len(front.compared)} crystals", title_justify="left")
    table.add_column("#", justify="right")
    for heading in ("formula", "space group"):
        table.add_column(heading, no_wrap=True)
    for heading in (*(titled(name, units) for name in names), "hit", "E_hull (eV/atom)"):
        width = 3 if heading == "hit" else 6  # a heading may be broken, a number never
        table.add_column(escape(heading), justify="right", min_width=width, overflow="fold")
    for rank, c in enumerate(front.members[:shown], start=1):
        numbers = [c.properties.get(name) for name in names]
        cells = ["-" if number is None else f"{number:.4g}" for number in numbers]
        hull = "-" if c.e_above_hull is None else f"{c.e_above_hull:.3f}"
        table.add_row(str(rank), c.composition, _symbol(c) or "-", *cells, "yes" if c.hit else "", hull)
    return Group(table, Text("\n".join(_said(front, shown))))


def _said(front: Front, shown: int) -> list[str]:
    lines = []
    if len(front.members) > shown:
        lines.append(f"{len(front.members) - shown} more are in {TABLE}.")
    volumes = {entry.iteration: f"{entry.cumulative:.3f}" for entry in front.growth}
    marks = sorted({round(i * (len(volumes) - 1) / 4) for i in range(5)}) if volumes else []
    steps = [
        f"{volume} (after iteration {iteration + 1})"
        for iteration, volume in (list(volumes.items())[mark] for mark in marks)
    ]
    if steps:
        measure = "Hypervolume of all crystals" if len(front.goals) > 1 else "Best score"
        lines.append(f"{measure} so far: {', '.join(steps)}.")
    return lines


def write_front(front: Front, folder: Path) -> None:
    """Write ``front.csv``, ``crystals/01_Formula.cif``, ... and ``hypervolume.csv`` into a new or empty folder."""
    (folder / FOLDER).mkdir(parents=True)
    goals = [goal.property for goal in front.goals]
    others = dict.fromkeys(name for c in front.members for name in c.properties if name not in goals)
    values = [*goals, *others]
    rows: list[Sequence[object]] = [[*_HEAD, *values, *(f"score_{name}" for name in goals), *_TAIL]]
    for rank, c in enumerate(front.members, start=1):
        file = ""
        if c.final is not None:
            file = f"{FOLDER}/{rank:02d}_{c.composition}.cif"
            (folder / file).write_text(c.final.to(fmt="cif"), encoding="utf-8")
        head = [rank, c.composition, _symbol(c), *(c.properties.get(name) for name in values)]
        tail = [c.reward, c.hit, c.e_above_hull, c.iteration, c.index, file]
        rows.append([*head, *(c.scores[name] for name in goals), *tail])
    _write(folder / TABLE, rows)
    _write(
        folder / VOLUMES,
        [
            ["iteration", "scored", "hypervolume", "hypervolume_cumulative", "front"],
            *([g.iteration, g.scored, g.hypervolume, g.cumulative, g.front] for g in front.growth),
        ],
    )


def _symbol(candidate: Candidate) -> str:
    crystal = candidate.final
    return space_group(crystal) if crystal is not None and crystal.is_ordered else ""


def _write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
