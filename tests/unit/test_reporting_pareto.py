"""Fronts of a campaign from its candidates: who is in them, how they grow, and what is written."""

from __future__ import annotations

import csv
import io
import itertools
import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from rich.console import Console

from matinvent.candidate import Candidate, Fate
from matinvent.config_goals import ObjectiveConfig
from matinvent.reporting.pareto import front_table, trace_front, write_front
from matinvent.reporting.pareto_figure import draw_front
from matinvent.rewards.pareto import hypervolume, pareto_front

GOALS = (
    ObjectiveConfig(property="gap", kind="target", target=3.0, hi=3.0, hit=(2.5, 3.5)),
    ObjectiveConfig(property="k", kind="maximize", lo=0, hi=100),
)
PENALTY = ObjectiveConfig(property="price", kind="minimize", lo=0, hi=1, role="penalty")
UNITS = {"gap": "eV", "k": "1", "price": "USD/kg"}
#: Scores on a grid, so that there are ties, by iteration.
SCORED = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5).map(lambda k: k / 5), st.integers(0, 5).map(lambda k: k / 5)),
    min_size=1, max_size=25,
)  # fmt: skip
CELL = Structure(Lattice.cubic(4), ["Fe"], [[0, 0, 0]])
_number = itertools.count()


def crystal(iteration: int, gap: float, k: float, element: str = "Fe", fate: Fate = Fate.SCORED) -> Candidate:
    """A crystal with these scores."""
    structure = CELL if element == "Fe" else Structure(Lattice.cubic(4), [element], [[0, 0, 0]])
    return Candidate(
        iteration, next(_number), structure, fate=fate, properties={"gap": 3 * gap, "k": 100 * k, "price": 0.5},
        scores={"gap": gap, "k": k, "price": 0.5}, reward=min(gap, k), hit=gap > 0.9 and k > 0.9,
    )  # fmt: skip


def by_iteration(points: list[tuple[int, float, float]]) -> list[Candidate]:
    return [crystal(*point) for point in sorted(points)]


@given(SCORED)
def test_the_front_is_that_of_all_scores_and_grows_as_its_volume(points):
    candidates = by_iteration(points)
    front = trace_front(GOALS, candidates)
    scores = [(c.scores["gap"], c.scores["k"]) for c in candidates]
    expected = {s for s, inside in zip(scores, pareto_front(scores), strict=True) if inside}
    assert {(c.scores["gap"], c.scores["k"]) for c in front.members} == expected
    assert len(front.members) == len(expected)  # of equal crystals one
    for entry in front.growth:
        so_far = [s for c, s in zip(candidates, scores, strict=True) if c.iteration <= entry.iteration]
        now = [s for c, s in zip(candidates, scores, strict=True) if c.iteration == entry.iteration]
        assert entry.scored == len(so_far)
        assert entry.cumulative == pytest.approx(hypervolume(so_far))
        assert entry.hypervolume == pytest.approx(hypervolume(now))
    volumes = [entry.cumulative for entry in front.growth]
    assert all(one <= two + 1e-12 for one, two in itertools.pairwise(volumes))


def test_penalties_are_no_axes():
    candidates = [crystal(0, 0.5, 0.5), crystal(0, 0.6, 0.6)]
    candidates[0].scores["price"], candidates[1].scores["price"] = 1.0, 0.1
    assert trace_front((*GOALS, PENALTY), candidates).members == (candidates[1],)


def test_crystals_without_all_scores_are_left_out():
    whole, partial, broken = crystal(0, 0.2, 0.2), crystal(0, 0.9, 0.9), crystal(1, 0.9, 0.9)
    del partial.scores["k"]
    broken.scores["gap"] = math.nan
    failed = crystal(2, 0.9, 0.9, fate=Fate.EVAL_FAILED)
    front = trace_front(GOALS, [whole, partial, broken, failed])
    assert front.members == front.compared == (whole,)
    assert [(g.iteration, g.scored, g.hypervolume) for g in front.growth] == [
        (0, 1, pytest.approx(0.04)),
        (1, 1, 0),
        (2, 1, 0),
    ]


def test_of_one_goal_the_front_is_the_best_crystal():
    candidates = [crystal(0, 0.4, 0), crystal(1, 0.8, 0), crystal(2, 0.8, 0), crystal(2, 0.1, 1)]
    front = trace_front(GOALS[:1], candidates)
    assert front.members == (candidates[1],)
    assert [g.cumulative for g in front.growth] == [0.4, 0.8, 0.8]


def test_equal_scores_of_other_compositions_stay():
    front = trace_front(GOALS, [crystal(0, 0.5, 0.5, "Fe"), crystal(1, 0.5, 0.5, "Au"), crystal(2, 0.5, 0.5, "Fe")])
    assert [(c.composition, c.iteration) for c in front.members] == [("Fe", 0), ("Au", 1)]


def test_crystals_of_the_user_are_no_finds():
    mine, found = crystal(-1, 1.0, 1.0), crystal(0, 0.3, 0.3)
    mine.source = "mine.cif"
    front = trace_front(GOALS, [mine, found])
    assert front.members == (found,)
    assert [g.iteration for g in front.growth] == [0]


def test_nothing_scored_is_an_empty_front():
    front = trace_front(GOALS, [crystal(0, 1, 1, fate=Fate.UNSTABLE)])
    assert front.members == ()
    assert front.growth[0].cumulative == 0
    assert trace_front(GOALS, []).growth == ()


def test_what_is_written_can_be_read_again(tmp_path):
    front = trace_front((*GOALS, PENALTY), [crystal(0, 0.9, 0.1), crystal(1, 0.2, 0.7, "Au"), crystal(2, 0.1, 0.1)])
    write_front(front, tmp_path)
    rows = list(csv.DictReader((tmp_path / "front.csv").open()))
    assert [row["formula"] for row in rows] == ["Fe", "Au"]
    assert [float(row["gap"]) for row in rows] == [c.properties["gap"] for c in front.members]
    assert float(rows[0]["price"]) == 0.5  # a penalty is no axis, but worth knowing
    assert [Structure.from_file(tmp_path / row["file"]).composition.reduced_formula for row in rows] == ["Fe", "Au"]
    growth = list(csv.DictReader((tmp_path / "hypervolume.csv").open()))
    assert [float(row["hypervolume_cumulative"]) for row in growth] == [g.cumulative for g in front.growth]
    with pytest.raises(FileExistsError):
        write_front(front, tmp_path)


def test_the_table_shows_raw_values_with_units():
    front = trace_front(GOALS, [crystal(0, 0.9, 0.1), crystal(1, 0.2, 0.7, "Au")])
    text = io.StringIO()
    Console(file=text, width=100).print(front_table(front, UNITS, shown=1))
    shown = text.getvalue()
    assert "2 of 2 crystals" in shown
    assert "gap (eV)" in shown
    assert "2.7" in shown
    assert "k (1)" not in shown
    assert "1 more are in front.csv" in shown


@pytest.mark.parametrize("goals", [GOALS[:1], GOALS, (*GOALS, PENALTY.model_copy(update={"role": "objective"}))])
def test_figures_are_complete_and_repeatable(tmp_path, goals):
    front = trace_front(goals, [crystal(0, 0.9, 0.1), crystal(1, 0.2, 0.7, "Au"), crystal(2, 0.0, 0.1)])
    draw_front(front, UNITS, tmp_path / "one.svg")
    draw_front(front, UNITS, tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    root = ET.parse(tmp_path / "one.svg").getroot()
    links = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
    assert all(link.startswith(("#", "data:")) for link in links)  # nothing is loaded from elsewhere
    pairs = len(goals) * (len(goals) - 1) // 2 or 1
    axes = [node for node in root.iter() if node.get("id", "").startswith("axes_")]
    assert len(axes) >= pairs + 2  # the hypervolume and the colour bar
    with pytest.raises(FileExistsError):
        draw_front(front, UNITS, tmp_path / "one.svg")
