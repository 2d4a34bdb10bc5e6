"""The Pareto front as a picture: every pair of goals in raw values, coloured by iteration, and the hypervolume."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinvent.reporting.pareto import Front, titled

if TYPE_CHECKING:
    from matinvent.candidate import Candidate
    from matinvent.config_goals import ObjectiveConfig

FIGURE = "front.svg"
_COLUMNS = 3
#: Side lengths of a panel (inches).
_WIDTH, _HEIGHT = 4.4, 3.6


def draw_front(front: Front, units: Mapping[str, str], path: Path) -> None:
    """Draw a self-contained SVG; equal fronts give equal files.

    One panel per pair of goals, with the front as a line and what is wanted in green (a line, or a band where a range
    is); one goal is drawn against the iteration. Values of score 0 are not drawn unless they are in the front: one
    outlier would squeeze all that matters. The last panel is the hypervolume, per iteration and cumulative.

    Args:
        front: with at least one crystal.
        units: property -> unit.
        path: a new file.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    pairs: list[tuple[ObjectiveConfig | None, ObjectiveConfig]] = list(itertools.combinations(front.goals, 2))
    pairs = pairs or [(None, front.goals[0])]
    columns = 2 if len(pairs) <= _COLUMNS else _COLUMNS
    rows = math.ceil((len(pairs) + 1) / columns)
    with rc_context({"svg.hashsalt": "matinvent"}), path.open("xb") as file:
        figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, (across, up) in zip(panels, pairs, strict=False):
            points = _scatter(panel, front, across, up, units)
        figure.colorbar(points, ax=panels[len(pairs) - 1], label="iteration")
        _volumes(panels[len(pairs)], front)
        for panel in panels[len(pairs) + 1 :]:
            panel.set_axis_off()
        figure.savefig(file, format="svg", metadata={"Date": None})


def _scatter(
    panel: Any, front: Front, across: ObjectiveConfig | None, up: ObjectiveConfig, units: Mapping[str, str]
) -> Any:
    """All crystals and the front on two axes; returns what the colour bar describes."""
    goals = [goal for goal in (across, up) if goal is not None]
    members = {id(c) for c in front.members}
    shown = [c for c in front.compared if id(c) in members or all(c.scores[goal.property] > 0 for goal in goals)]

    def places(candidates: Sequence[Candidate]) -> list[list[float]]:
        return [
            [c.iteration if goal is None else c.properties.get(goal.property, math.nan) for c in candidates]
            for goal in (across, up)
        ]

    points = panel.scatter(*places(shown), c=[c.iteration for c in shown], s=14, cmap="viridis", linewidths=0)
    points.set_clim(front.growth[0].iteration, front.growth[-1].iteration)
    line = "-" if len(front.goals) == 2 else ""  # of more goals a pair shows no line but a surface from the side
    panel.plot(
        *places(front.members), color="black", linestyle=line, linewidth=1, marker="o", markersize=6, fillstyle="none"
    )
    for goal, mark, band in ((across, panel.axvline, panel.axvspan), (up, panel.axhline, panel.axhspan)):
        if goal is not None:
            _mark_wanted(goal, mark, band)
    panel.set(
        xlabel="iteration" if across is None else titled(across.property, units), ylabel=titled(up.property, units)
    )
    return points


def _mark_wanted(goal: ObjectiveConfig, line: Any, band: Any) -> None:
    """Where the goal is met: the values of a hit or range as a band, else a line at the value of score 1."""
    low, high = goal.hit or goal.range or (None, None)
    if low is not None and high is not None and low < high:
        band(low, high, color="tab:green", alpha=0.15, linewidth=0)
    wanted = {"target": goal.target, "maximize": goal.hi, "minimize": goal.lo}.get(goal.kind)
    edge = wanted if low is None and high is None else low if high is None else high if low is None else goal.target
    if edge is not None:
        line(edge, color="tab:green", linewidth=1, linestyle="--")


def _volumes(panel: Any, front: Front) -> None:
    iterations = [entry.iteration for entry in front.growth]
    panel.plot(iterations, [entry.hypervolume for entry in front.growth], color="0.6", linewidth=1, label="iteration")
    panel.plot(iterations, [entry.cumulative for entry in front.growth], color="black", label="all so far")
    panel.set(xlabel="iteration", ylabel="hypervolume" if len(front.goals) > 1 else "best score", ylim=(0, 1))
    panel.legend(frameon=False)
