"""Tables of an experiment: ``report.md`` for people, ``table.csv`` and ``summary.csv`` for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from matinvent.experiments.analysis import QUANTITIES, WINDOW, Analysed
from matinvent.experiments.catalogue import Experiment
from matinvent.experiments.cost import duration
from matinvent.experiments.hacking import Coverage
from matinvent.experiments.records import Evaluated, count_hits
from matinvent.experiments.significance import RateRatio, Spread, welch_p

REPORT = "report.md"
TABLE = "table.csv"
SUMMARY = "summary.csv"
#: The paper's evaluations until single-property tasks have converged.
_PAPER_EVALUATIONS = 1000

_LEARNING = (
    "evaluations",
    "failed",
    "reward_first",
    "reward_last",
    "effect",
    "goal_evaluations",
    "hits_per_100",
    "hits_per_100_last",
    "hit_systems",
)
_PRICE = (
    "sun_first", "sun_last", "sun_judged", "validity_first", "validity_last", "validity_judged", "compositions",
    "compositions_equal", "systems", "systems_equal", "single_element_share", "divergence", "hypervolume",
    "hypervolume_equal",
)  # fmt: skip

Group = dict[tuple[str, str], list[Analysed]]


def reported_campaigns(folder: Path) -> list[str]:
    """Names of the campaigns of the report that is in a folder; none without a report, or without its table."""
    if not ((folder / REPORT).is_file() and (folder / TABLE).is_file()):
        return []
    with (folder / TABLE).open(encoding="utf-8", newline="") as table:
        return [row["campaign"] for row in csv.DictReader(table)]


def write_tables(campaigns: Sequence[Analysed], folder: Path) -> None:
    """Write ``table.csv`` (a row for each campaign) and ``summary.csv`` (for each arm and number, over seeds)."""
    keys = list(dict.fromkeys(key for campaign in campaigns for key in campaign.numbers))
    told = {*keys, "crystals", "chemical_systems"}  # the last two: evaluations less failed ones, and systems
    signs = [field.name for field in fields(Coverage) if field.name not in told]
    rows: list[list[object]] = [["campaign", "task", "arm", "seed", *keys, *signs]]
    for c in campaigns:
        whole = [getattr(c.hacking.whole, sign) for sign in signs]
        numbers = [c.numbers.get(key) for key in keys]
        rows.append([c.planned.name, c.planned.task, c.planned.arm.name, c.planned.seed, *numbers, *whole])
    _write_csv(folder / TABLE, rows)
    rows = [["task", "arm", "quantity", "seeds", "mean", "sd", "low_95", "high_95"]]
    for (task, arm), own in groups(campaigns).items():
        for key in keys:
            spread = spread_of(own, key)
            if spread is not None:
                rows.append([task, arm, key, spread.n, spread.mean, spread.sd, spread.low, spread.high])
    _write_csv(folder / SUMMARY, rows)


def write_report(
    experiment: Experiment, campaigns: Sequence[Analysed], heading: Sequence[str], figures: Sequence[Path], folder: Path
) -> Path:
    """Write ``report.md``; it is written last, so that a report that is there is complete.

    Args:
        experiment: what was asked.
        campaigns: all of its campaigns.
        heading: lines on command, machine, seeds and so on.
        figures: files in the folder.
        folder: where it goes.
    """
    grouped = groups(campaigns)
    parts = [
        f"# {experiment.name}: {experiment.question}",
        f"The paper's {experiment.figure} (arXiv 2511.03112)."
        + (f" Found there: {experiment.expected}." if experiment.expected else ""),
        "\n".join(f"- {line}" for line in heading),
        "## Learning",
        _arm_table(grouped, _LEARNING),
        "## Against the prior",
        _prior_table(grouped),
        "## Properties",
        _property_table(grouped),
        "## What it cost",
        _arm_table(grouped, (*_PRICE, "seconds")),
        *_comparisons(experiment, grouped),
        "## Is a reward hacked?",
        _hacking_table(campaigns),
        *(f"![{path.stem}]({path.name})" for path in figures),
        _NOTES,
    ]
    path = folder / REPORT
    _write(path, "\n\n".join(part for part in parts if part) + "\n")
    return path


_NOTES = f"""## How to read this

- Mean ± standard deviation over seeds; [95 % confidence interval of the mean by Student's t, which knows no bounds and
  may reach below zero]. Curves: line mean, band ± one standard deviation, dotted the goal; from where the first seed
  has ended thin lines show the others.
- Quarters are of the evaluations spent; those of SUN and validity are of the iterations. The effect size is Cohen's d
  between the rewards of both quarters of a campaign, the p value behind it the largest of all seeds (permutation test).
- Mean rewards and properties are of what could be evaluated; a failed evaluation is spent, and no hit.
- Evaluations to the goal: spent when the mean property of {WINDOW} iterations first lies within the goal's bounds,
  which it may leave again, and which single crystals may still miss (see the hits); "-" where no seed gets there,
  "(n of m)" where not all do, the mean being theirs. The paper reports about {_PAPER_EVALUATIONS:,}.
- A hit meets every objective and has passed the screening, where there is one. Hits may be neighbours: the chemical
  systems with hits count all alloys of one set of elements once.
- SUN: stable, unique and novel share of the samples. Within a campaign it is that of the crystals its surrogate
  prefers, unique among all so far; of the final agent it is that of samples drawn after the campaign, all screened,
  unique within their sample (of `judged_size` crystals, see table.csv; of an agent that repeats itself a larger sample
  holds fewer unique ones). Beside the prior's stands the latter where it was measured, of all seeds together [95 %
  confidence of the ratio, approximate, for independent crystals]. Validity within a campaign is of all proposals, some
  of which the prior makes (`acquisition.from_prior`); of the final agent it is of its own.
- Beside the prior: mean reward of all evaluated crystals, p of Welch's test over seeds; hits of all seeds together,
  how many times as often they come per evaluation, and in the last quarter, as all of the prior's do [95 % confidence,
  for independent hits, exact where they are rare, else rather too wide; where the prior has none only the lower end
  is known].
- What the prior proposes does not depend on the goal: of one seed its campaigns are the same crystals, screened once
  and evaluated for each task. So rows are not independent, and the seconds of most are of evaluation alone.
- At equal numbers: distinct ones expected in as many scored crystals as the campaign of the task with the fewest has
  (rarefaction); hypervolume after as many evaluations as the campaign that spent the fewest.
- Sparse systems: chemical systems of several elements in which the reference set knows fewer stable compounds than
  there are pairs of elements."""


def groups(campaigns: Sequence[Analysed]) -> Group:
    """Campaigns by task and arm."""
    found: Group = {}
    for campaign in campaigns:
        found.setdefault((campaign.planned.task, campaign.planned.arm.name), []).append(campaign)
    return found


def spread_of(campaigns: Sequence[Analysed], key: str) -> Spread | None:
    """A number over the seeds."""
    return Spread.of(campaign.numbers.get(key) for campaign in campaigns)


def _arm_table(grouped: Group, keys: Sequence[str]) -> str:
    """A row for each arm; what was not measured is left out, but not a goal that was not reached."""
    shown = [key for key in keys if _is_shown(key, grouped)]
    head = ["task", "arm", *(QUANTITIES[key][0] for key in shown)]
    rows = [[task, own[0].planned.arm.title, *(_cell(own, key) for key in shown)] for (task, _), own in grouped.items()]
    return markdown(head, rows)


def _is_shown(key: str, grouped: Group) -> bool:
    there = [spread for own in grouped.values() if (spread := spread_of(own, key)) is not None]
    if key == "failed":
        return any(spread.mean for spread in there)
    return bool(there) or key in _LEARNING


def _cell(campaigns: Sequence[Analysed], key: str) -> str:
    spread = spread_of(campaigns, key)
    if spread is None:
        return "-"
    if key == "seconds":
        return duration(spread.mean)
    text = _spread(spread, QUANTITIES[key][1], interval=key in {"reward_last", "hits_per_100", "sun_last"})
    if key == "effect":
        ps = [campaign.numbers["p"] for campaign in campaigns if campaign.numbers["p"] is not None]
        return f"{text} (p {max(ps):.1g})" if ps else text
    return f"{text} ({spread.n} of {len(campaigns)})" if spread.n < len(campaigns) else text


def _spread(spread: Spread, form: str, *, interval: bool = False) -> str:
    text = f"{spread.mean:{form}}"
    if spread.sd is not None:
        text += f" ± {spread.sd:{form}}"
    if interval and spread.low is not None:
        text += f" [{spread.low:{form}}, {spread.high:{form}}]"
    return text


def _prior_table(grouped: Group) -> str:
    """Rewards, hits and SUN of each arm beside the prior's."""
    rows = []
    for (task, arm), own in grouped.items():
        prior = grouped.get((task, "prior"))
        if arm == "prior" or prior is None:
            continue
        cells = [*_reward_beside(own, prior), *_hit_ratio(own, prior), *_sun_ratio(own, prior)]
        rows.append([task, own[0].planned.arm.title, *cells])
    if not rows:
        return "The prior alone; there is nothing to compare it with."
    head = [
        "task", "arm", "mean reward", "of the prior", "p", "hits", "of the prior", "times as often",
        "in the last quarter", "SUN", "of the prior", "ratio",
    ]  # fmt: skip
    return markdown(head, rows)


def _reward_beside(own: Sequence[Analysed], prior: Sequence[Analysed]) -> list[str]:
    """Mean rewards of all evaluated crystals, over seeds."""
    spreads = [spread_of(campaigns, "reward_mean") for campaigns in (own, prior)]
    p = welch_p(_known(own, "reward_mean"), _known(prior, "reward_mean"))
    return [
        *("-" if spread is None else _spread(spread, ".3f") for spread in spreads),
        "-" if p is None else f"{p:.2g}",
    ]


def _hit_ratio(own: Sequence[Analysed], prior: Sequence[Analysed]) -> list[str]:
    """Hits of all seeds together, and how many times as often they come as the prior's, in all and at last."""
    hits, spent = _hits(c.record.evaluated for c in own)
    late, late_spent = _hits(c.record.late for c in own)
    base, base_spent = _hits(c.record.evaluated for c in prior)
    return [
        f"{hits} of {spent}",
        f"{base} of {base_spent}",
        _times(RateRatio.of(hits, spent, base, base_spent)),
        _times(RateRatio.of(late, late_spent, base, base_spent)),
    ]


def _hits(evaluated: Iterable[Sequence[Evaluated]]) -> tuple[int, int]:
    """Hits, and evaluations spent, of all campaigns together."""
    crystals = [crystal for campaign in evaluated for crystal in campaign]
    return count_hits(crystals), len(crystals)


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _times(ratio: RateRatio | None, form: Callable[[float], str] = _rounded) -> str:
    if ratio is None:
        return "-"
    if ratio.value is None:
        return f"> {form(ratio.low)}"
    if ratio.high is None:
        return form(ratio.value)
    return f"{form(ratio.value)} [{form(ratio.low)}, {form(ratio.high)}]"


def _sun_ratio(own: Sequence[Analysed], prior: Sequence[Analysed]) -> list[str]:
    """SUN, the prior's, and their ratio: of all crystals drawn from final agents, else within the campaigns."""
    (sun, drawn), (base, base_drawn) = _judged(own), _judged(prior)
    if drawn and base_drawn:
        ratio = RateRatio.of_shares(sun, drawn, base, base_drawn)
        return [f"{sun} of {drawn}", f"{base} of {base_drawn}", _times(ratio, "{:.2f}".format)]
    mine, prior_mean = spread_of(own, "sun_last"), spread_of(prior, "sun")
    if mine is None or prior_mean is None:
        return ["-", "-", "-"]
    between = f"{mine.mean / prior_mean.mean:.2f}" if prior_mean.mean else "-"
    return [_spread(mine, ".2f"), _spread(prior_mean, ".2f"), between]


def _judged(campaigns: Sequence[Analysed]) -> tuple[int, int]:
    """Stable, unique and novel crystals among those drawn from final agents, and the latter, of all seeds together."""
    shares = [(c.numbers.get("sun_judged"), c.numbers.get("judged")) for c in campaigns]
    there = [(share, drawn) for share, drawn in shares if share is not None and drawn is not None]
    return sum(round(share * drawn) for share, drawn in there), sum(int(drawn) for _, drawn in there)


def _property_table(grouped: Group) -> str:
    """Mean properties of the first and the last quarter."""
    rows = []
    for (task, _), own in grouped.items():
        config = own[0].record.config
        for objective in config.objectives:
            early, late = (spread_of(own, f"{objective.property}_{when}") for when in ("first", "last"))
            cells = ["-" if spread is None else _spread(spread, ".4g") for spread in (early, late)]
            rows.append([task, own[0].planned.arm.title, objective.property, *cells, config.goal])
    return markdown(["task", "arm", "property", "first quarter", "last quarter", "goal"], rows)


def _comparisons(experiment: Experiment, grouped: Group) -> list[str]:
    """Differences of the arms of an ablation from the default."""
    rows = []
    for task in dict.fromkeys(task for task, _ in grouped):
        base = grouped.get((task, "learned"))
        if base is None:
            continue
        others = [(arm, own) for (t, arm), own in grouped.items() if t == task and arm not in {"learned", "prior"}]
        rows += [
            _comparison(task, base, own, key)
            for key in experiment.compared
            for _, own in others
            if spread_of(base, key) and spread_of(own, key)
        ]
    if not rows:
        return []
    head = ["task", "quantity", "default", "arm", "value", "default minus arm", "p (Welch, over seeds)"]
    chance = f"The p values are not corrected for being {len(rows)}: about one in twenty falls below 0.05 by chance."
    return ["## Ablation", markdown(head, rows), chance]


def _comparison(task: str, base: Sequence[Analysed], own: Sequence[Analysed], key: str) -> list[str]:
    title, form = QUANTITIES[key]
    mine, theirs = spread_of(base, key), spread_of(own, key)
    assert mine is not None
    assert theirs is not None
    p = welch_p(_known(base, key), _known(own, key))
    difference = f"{mine.mean - theirs.mean:+{form}}"
    cells = [_spread(mine, form), own[0].planned.arm.title, _spread(theirs, form)]
    return [task, title, *cells, difference, "-" if p is None else f"{p:.2g}"]


def _known(campaigns: Sequence[Analysed], key: str) -> list[float]:
    return [value for campaign in campaigns if (value := campaign.numbers[key]) is not None]


def _hacking_table(campaigns: Sequence[Analysed]) -> str:
    """Signs of a hacked reward, first and last quarter of each campaign."""
    head = [
        "campaign", "pure elements", "sparse systems", "chemical systems", "elements (effective)",
        "most frequent element", "space groups", "validity", "divergence", "to be looked at",
    ]  # fmt: skip
    rows = []
    for campaign in campaigns:
        report = campaign.hacking
        early, late = report.first, report.last
        rows.append([
            campaign.planned.name,
            _arrow(early.single_element_share, late.single_element_share),
            _arrow(early.sparse_system_share, late.sparse_system_share),
            f"{early.chemical_systems} → {late.chemical_systems}",
            _arrow(early.effective_elements, late.effective_elements, ".0f"),
            f"{late.top_element} in {late.top_element_share:.0%}" if late.top_element_share is not None else "-",
            f"{early.space_groups} → {late.space_groups}",
            _arrow(report.validity_first, report.validity_last),
            "-" if report.divergence is None else f"{report.divergence:.3g}",
            "; ".join(report.warnings) or "nothing",
        ])  # fmt: skip
    return markdown(head, rows)


def _arrow(early: float | None, late: float | None, form: str = ".2f") -> str:
    return " → ".join("-" if value is None else f"{value:{form}}" for value in (early, late))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8", newline="")
    temporary.replace(path)
