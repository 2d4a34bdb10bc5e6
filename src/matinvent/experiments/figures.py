"""Figures of experiments, as SVG files that are the same whenever their content is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import MatInventError
from matinvent.experiments.analysis import Analysed, by_iteration
from matinvent.experiments.curves import (
    Series,
    compositions_so_far,
    curve,
    hits_so_far,
    hypervolume_so_far,
    metric,
)
from matinvent.experiments.records import scored
from matinvent.rewards.pareto import pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from matinvent.config import CampaignConfig
    from matinvent.config_goals import ObjectiveConfig
    from matinvent.experiments.records import Evaluated

#: Colours that the colour-blind tell apart (Okabe and Ito, then two of Tol's), the prior in grey.
_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442", "#882255", "#999933",
)  # fmt: skip
_PRIOR_COLOUR = "#8c8c8c"
_GOAL_COLOUR = "#b03030"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "matinvent",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
_SPENT = "property evaluations"
#: Of a column of a legend (inches), with the longest name of an arm.
_LEGEND_WIDTH = 2.7

#: Diagnostics of few tasks: title, axis, series.
_DIAGNOSTICS: tuple[tuple[str, str, Series], ...] = (
    ("stable, unique, novel", "share of samples", metric("sun")),
    ("validity", "share of samples", metric("validity")),
    ("hits so far", "crystals", hits_so_far),
    ("distinct compositions so far", "compositions", compositions_so_far),
    ("pure elements", "share of scored crystals", metric("single_element_share")),
    ("divergence from the prior", "divergence (as learned with)", metric("divergence")),
)
#: Tasks up to which diagnostics are drawn.
_FEW_TASKS = 4


def draw_all(campaigns: Sequence[Analysed], folder: Path) -> list[Path]:
    """Draw everything that an experiment has something to show for.

    Args:
        campaigns: finished campaigns of one experiment.
        folder: where files go; those of the same names are replaced.

    Returns:
        The files: ``properties.svg``, ``rewards.svg``, and where it applies ``diagnostics.svg``, ``pareto.svg``,
        ``hypervolume.svg``.
    """
    import matplotlib as mpl

    tasks = _by_task(campaigns)
    with mpl.rc_context(_STYLE):
        figures: dict[str, Figure] = {"properties": _properties(tasks), "rewards": _rewards(tasks)}
        if len(tasks) <= _FEW_TASKS:
            figures["diagnostics"] = _diagnostics(tasks)
        several = {task: own for task, own in tasks.items() if len(_goals(own[0].record.config)) > 1}
        if several:
            figures["pareto"] = _fronts(several)
            figures["hypervolume"] = _volumes(several)
        paths = []
        for name, figure in figures.items():
            path = folder / f"{name}.svg"
            temporary = path.with_name(f".{path.name}.part")
            figure.savefig(temporary, format="svg", metadata={"Date": None})
            temporary.replace(path)
            paths.append(path)
    return paths


# ------------------------------------------------------------------------------------------------ curves over seeds


def _properties(tasks: dict[str, list[Analysed]]) -> Figure:
    """Mean property of each iteration, one panel for each goal."""
    goals = [(task, goal) for task, own in tasks.items() for goal in own[0].record.config.objectives]
    figure, axes = _panels(len(goals))
    for axis, (task, goal) in zip(axes, goals, strict=False):
        _mark_goal(axis, goal)
        _plot(axis, tasks[task], metric(f"{goal.property}_mean"))
        label = f"mean {_with_unit(goal.property)}".replace(" (", "\n(")  # a panel is low
        axis.set(title=_words(task), xlabel=_SPENT, ylabel=label)
    _legend(figure, axes)
    return figure


def _rewards(tasks: dict[str, list[Analysed]]) -> Figure:
    """Mean reward of each iteration, one panel for each task."""
    figure, axes = _panels(len(tasks))
    for axis, (task, own) in zip(axes, tasks.items(), strict=False):
        _plot(axis, own, metric("reward_mean"))
        axis.set(title=_words(task), xlabel=_SPENT, ylabel="mean reward", ylim=(0, 1))
    _legend(figure, axes)
    return figure


def _volumes(tasks: dict[str, list[Analysed]]) -> Figure:
    """Hypervolume of everything scored so far."""
    figure, axes = _panels(len(tasks))
    for axis, (task, own) in zip(axes, tasks.items(), strict=False):
        _plot(axis, own, hypervolume_so_far)
        axis.set(title=_words(task), xlabel=_SPENT, ylabel="hypervolume of the scores so far")
        axis.set_ylim(bottom=0)
    _legend(figure, axes)
    return figure


def _diagnostics(tasks: dict[str, list[Analysed]]) -> Figure:
    """What a rising reward may have cost; what no campaign measured is left out."""
    panels = [
        (task, panel)
        for task, own in tasks.items()
        for panel in _DIAGNOSTICS
        if any(not math.isnan(value) for campaign in own for value in panel[2](campaign.record))
    ]
    figure, axes = _panels(len(panels), columns=3)
    for axis, (task, (title, label, series)) in zip(axes, panels, strict=False):
        _plot(axis, tasks[task], series)
        heading = title if len(tasks) == 1 else f"{_words(task)}: {title}"
        axis.set(title=heading, xlabel=_SPENT, ylabel=label)
        axis.set_ylim(bottom=0)
    _legend(figure, axes)
    return figure


def _plot(axis: Axes, campaigns: Sequence[Analysed], series: Series) -> None:
    """One line for each arm with a band of one standard deviation over seeds."""
    for (title, own), colour in _arms(campaigns):
        line = curve(own, series)
        if not len(line.x) and not line.rest:
            continue
        dashed = colour == _PRIOR_COLOUR
        axis.plot(line.x, line.mean, "--" if dashed else "-", color=colour, linewidth=1.6, label=title)
        if line.seeds > 1:
            axis.fill_between(line.x, line.mean - line.sd, line.mean + line.sd, color=colour, alpha=0.15, linewidth=0)
        for x, y in line.rest:
            axis.plot(x, y, "--" if dashed else "-", color=colour, linewidth=0.7, alpha=0.6)


def _arms(campaigns: Sequence[Analysed]) -> Iterator[tuple[tuple[str, list[Analysed]], str]]:
    """Campaigns by arm, each with its colour."""
    groups: dict[str, list[Analysed]] = {}
    for campaign in campaigns:
        groups.setdefault(campaign.planned.arm.name, []).append(campaign)
    colours = cycle(_COLOURS)
    for name, own in groups.items():
        yield (own[0].planned.arm.title, own), _PRIOR_COLOUR if name == "prior" else next(colours)


def _mark_goal(axis: Axes, goal: ObjectiveConfig) -> None:
    """The target as a line, the bounds of a hit as a shaded region."""
    if goal.target is not None:
        axis.axhline(goal.target, color=_GOAL_COLOUR, linestyle=":", linewidth=1.2, label="target")
    if goal.hit is None:
        return
    low, high = goal.hit
    if low is not None and high is not None:
        axis.axhspan(low, high, color=_GOAL_COLOUR, alpha=0.08, linewidth=0)
    elif goal.target is None:
        bound = low if low is not None else high
        if bound is not None:
            axis.axhline(bound, color=_GOAL_COLOUR, linestyle=":", linewidth=1.2, label="goal")


# ---------------------------------------------------------------------------------------------------- Pareto fronts


def _fronts(tasks: dict[str, list[Analysed]]) -> Figure:
    """All scored crystals of all seeds in the plane of two goals, and the fronts of what was found until then."""
    panels = [(task, arm) for task, own in tasks.items() for arm, _ in _arms(own)]
    figure, axes = _panels(len(panels), width=4.4, height=3.6)
    for axis, (task, (title, own)) in zip(axes, panels, strict=False):
        goals = _plane(own[0].record.config)
        _scatter(axis, own, goals, figure)
        _draw_fronts(axis, own, goals)
        for goal, line in zip(goals, (axis.axvline, axis.axhline), strict=True):
            for bound in goal.hit or ():
                if bound is not None:
                    line(bound, color=_GOAL_COLOUR, linestyle=":", linewidth=1.2)
        labels = [_with_unit(goal.property) for goal in goals]
        axis.set(title=f"{_words(task)}: {title}", xlabel=labels[0], ylabel=labels[1])
        axis.legend()
    return figure


def _scatter(axis: Axes, campaigns: Sequence[Analysed], goals: Sequence[ObjectiveConfig], figure: Figure) -> None:
    crystals = [crystal for campaign in campaigns for crystal in _judged_by(goals, campaign.record.scored)]
    if crystals:
        x, y = _values(crystals, goals).T
        when = [crystal.iteration + 1 for crystal in crystals]
        dots = axis.scatter(x, y, c=when, cmap="viridis", s=9, alpha=0.7, linewidths=0)
        figure.colorbar(dots, ax=axis, label="iteration")


def _draw_fronts(axis: Axes, campaigns: Sequence[Analysed], goals: Sequence[ObjectiveConfig]) -> None:
    """Staircase over the crystals that no other beats in both goals, after a quarter, half and all iterations."""
    # Between two of them the one beyond is what was reached; of a target nothing is beyond.
    steps = {"maximize": "steps-pre", "minimize": "steps-post"}.get(goals[0].kind, "default")
    steps = "default" if goals[1].kind not in {"maximize", "minimize"} else steps
    batches = [by_iteration(campaign.record.evaluated) for campaign in campaigns]
    total = max(map(len, batches), default=0)
    for share, style in ((0.25, ":"), (0.5, "--"), (1.0, "-")):
        until = math.ceil(share * total)
        found = _judged_by(goals, scored(c for own in batches for batch in own[:until] for c in batch))
        front = _front(found, goals)
        if len(front):
            label = "front, all iterations" if share == 1.0 else f"front after {until}"
            axis.plot(*front.T, style, color="black", linewidth=1.1, label=label, drawstyle=steps)


def _judged_by(goals: Sequence[ObjectiveConfig], evaluated: Sequence[Evaluated]) -> list[Evaluated]:
    """Those that have all of the properties; an earlier stage of a campaign may have had fewer goals."""
    return [crystal for crystal in evaluated if {goal.property for goal in goals} <= set(crystal.scores)]


def _values(evaluated: Sequence[Evaluated], goals: Sequence[ObjectiveConfig]) -> np.ndarray:
    """Properties, shape (n, goals)."""
    return np.array([[c.properties[goal.property] for goal in goals] for c in evaluated]).reshape(-1, len(goals))


def _front(evaluated: Sequence[Evaluated], goals: Sequence[ObjectiveConfig]) -> np.ndarray:
    """Values of the best compromises, sorted along the first goal, shape (n, 2).

    Scores saturate at the ends of their ramps; there the values decide for goals that are maximised or minimised.
    """
    values = _values(evaluated, goals)
    if not len(values):
        return values
    merit = np.array([[_merit(c, goal) for goal in goals] for c in evaluated])
    inside = values[pareto_front(merit)]
    return inside[np.argsort(inside[:, 0], kind="stable")]


def _merit(crystal: Evaluated, goal: ObjectiveConfig) -> float:
    """What is to be large."""
    if goal.kind == "maximize":
        return crystal.properties[goal.property]
    if goal.kind == "minimize":
        return -crystal.properties[goal.property]
    return crystal.scores[goal.property]


def _plane(config: CampaignConfig) -> list[ObjectiveConfig]:
    """The two goals that span the figure: the last two, since a product of them (a figure of merit) comes first."""
    return _goals(config)[-2:]


def _goals(config: CampaignConfig) -> list[ObjectiveConfig]:
    return [objective for objective in config.objectives if objective.role == "objective"]


# ----------------------------------------------------------------------------------------------------------- helpers


def _panels(count: int, columns: int = 4, width: float = 3.1, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A grid of panels; unused ones are hidden."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(width * columns, 2 * _LEGEND_WIDTH), height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, below them."""
    found = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if found:
        columns = min(4, int(figure.get_figwidth() // _LEGEND_WIDTH))
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns)


def _by_task(campaigns: Sequence[Analysed]) -> dict[str, list[Analysed]]:
    tasks: dict[str, list[Analysed]] = {}
    for campaign in campaigns:
        tasks.setdefault(campaign.planned.task, []).append(campaign)
    return tasks


def _words(name: str) -> str:
    return name.replace("_", " ")


def _with_unit(name: str) -> str:
    """A property and its unit, as an axis says it."""
    from matinvent.properties.registry import about

    try:
        unit = about(name).unit
    except MatInventError:  # a user's own that needs parameters
        unit = ""
    return _words(name) if unit in {"", "1"} else f"{_words(name)} ({unit.replace('^3', '³').replace('^2', '²')})"
