"""Numbers of campaigns: equal to hand computation on a made-up run directory."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.unit.made_up_run import candidate, make_run

from matinvent.errors import CheckpointError
from matinvent.experiments.analysis import (
    Analysed,
    at_equal_numbers,
    campaign_numbers,
    distinct_of,
    evaluations_to_goal,
    hypervolumes,
)
from matinvent.experiments.hacking import coverage, hacking_report, judge_record
from matinvent.experiments.records import Evaluated, Record, read_record
from matinvent.memory.ledger import Ledger
from matinvent.screening.reference import ReferenceSet


@pytest.fixture
def directory(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def record(directory):
    return read_record(directory)


def evaluated(formula: str) -> Evaluated:
    return Evaluated.of(candidate(0, 0, (formula, 5.0, 500.0)))


def test_a_record_survives_json(record):
    again = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert again.settings == record.settings
    assert again.evaluated == record.evaluated
    assert campaign_numbers(again) == campaign_numbers(record)


def test_rewards_hits_and_effect(record):
    numbers = campaign_numbers(record)
    # Rewards in order: .2 .4 | .5 failed | .65 .5 | .75 .85; a quarter is two evaluations.
    assert (numbers["evaluations"], numbers["failed"]) == (8, 1)
    assert numbers["reward_first"] == pytest.approx(0.3)
    assert numbers["reward_last"] == pytest.approx(0.8)
    assert numbers["reward_mean"] == pytest.approx((0.2 + 0.4 + 0.5 + 0.65 + 0.5 + 0.75 + 0.85) / 7)
    # Variances 0.02 and 0.005, pooled 0.0125; of the 6 relabellings 2 are as far apart.
    assert numbers["effect"] == pytest.approx(0.5 / math.sqrt(0.0125))
    assert numbers["p"] == pytest.approx(2 / 6)
    assert (numbers["hits"], numbers["hits_per_100"], numbers["hits_per_100_last"]) == (3, 37.5, 100.0)


def test_hits_of_the_agent_itself(record):
    assert campaign_numbers(record)["hits_of_agent"] is None  # who proposed what was not recorded
    proposers = ["agent" if number % 2 else "prior" for number in range(len(record.evaluated))]
    told = [replace(c, proposed_by=who) for c, who in zip(record.evaluated, proposers, strict=True)]
    hits = [c for c in told if c.hit and c.proposed_by == "agent"]
    assert 0 < len(hits) < 3
    assert campaign_numbers(replace(record, evaluated=told))["hits_of_agent"] == len(hits)


def test_metrics_by_quarters_of_iterations(record):
    numbers = campaign_numbers(record, {"sun": 0.33, "validity": 0.7})
    assert (numbers["sun_first"], numbers["sun_last"], numbers["sun"]) == (0.4, 0.7, pytest.approx(0.55))
    assert (numbers["validity_first"], numbers["validity_last"]) == (1.0, 0.6)
    assert numbers["divergence"] == 0.03  # the last one that was measured
    assert (numbers["sun_judged"], numbers["validity_judged"]) == (0.33, 0.7)
    assert numbers["seconds"] == 8.0


def test_diversity_and_properties(record):
    numbers = campaign_numbers(record)
    assert (numbers["compositions"], numbers["systems"]) == (4, 4)
    assert numbers["single_element_share"] == pytest.approx(4 / 7)
    assert (numbers["density_first"], numbers["density_last"]) == (3.0, 8.5)
    assert (numbers["hhi_first"], numbers["hhi_last"]) == (700.0, 250.0)


def test_the_goal_is_met_when_the_running_mean_is_within_all_bounds(record):
    # Iterations 1-3: density (2+4+6+7+5)/5 = 4.8; 2-4: (6+7+5+8+9)/5 = 7 and hhi (600+400+500+300+200)/5 = 400.
    assert evaluations_to_goal(record.config, record.evaluated) == 8
    assert evaluations_to_goal(record.config, [c for c in record.evaluated if c.iteration < 3]) is None
    assert evaluations_to_goal(record.config, []) is None


def test_hypervolume_grows_with_all_crystals_so_far(record):
    volumes = hypervolumes(record.config, record.evaluated)
    # Scores (.2 .2), (.4 .4) -> .16; (.6 .4) -> .24; (.7 .6) -> .42; (.8 .7), (.9 .8) -> .72.
    assert volumes == pytest.approx([0.16, 0.24, 0.42, 0.72])
    assert campaign_numbers(record)["hypervolume"] == pytest.approx(0.72)


def test_distinct_ones_are_those_expected_in_equal_numbers():
    # Of the three pairs of a, a, b one is alike.
    assert distinct_of(["a", "a", "b"], 2) == pytest.approx(5 / 3)
    assert distinct_of(["a", "a", "b"], 3) == 2
    assert distinct_of(["a", "a", "b"], 1) == 1
    assert distinct_of(["a"], 2) is None
    assert distinct_of([], 0) is None


def test_campaigns_are_compared_at_equal_numbers(record):
    short = replace(record, evaluated=record.evaluated[:4])  # NaCl, MgO, Fe and a failure
    other = replace(record, evaluated=record.evaluated[:2])
    planned = [SimpleNamespace(task=task) for task in ("one", "one", "two")]
    own = [Analysed(p, r, {}, None) for p, r in zip(planned, (record, short, other), strict=True)]
    numbers = [campaign.numbers for campaign in at_equal_numbers(own)]
    # Seven crystals: NaCl, MgO, TiN and four of Fe. Of the 35 ways to take three 15 have NaCl, and one has no Fe.
    expected = 3 * 3 / 7 + 1 - 1 / 35
    assert numbers[0]["compositions_equal"] == numbers[0]["systems_equal"] == pytest.approx(expected)
    assert numbers[1]["compositions_equal"] == 3
    assert numbers[2]["compositions_equal"] == 2  # another task
    assert numbers[0]["hypervolume_equal"] == numbers[1]["hypervolume_equal"] == pytest.approx(0.24)
    assert numbers[2]["hypervolume_equal"] == pytest.approx(0.16)


def test_crystals_that_a_campaign_began_with_are_no_finds(directory, record):
    given = [replace(candidate(-1, i, ("Fe", 9.0, 100.0)), source="mine.cif") for i in range(30)]
    Ledger(directory / "ledger.db").record(given)
    assert campaign_numbers(read_record(directory)) == campaign_numbers(record)


def test_what_is_not_in_metrics_yet_does_not_count(directory):
    lines = (directory / "metrics.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (directory / "metrics.csv").write_text("".join(lines[:3]), encoding="utf-8")
    assert campaign_numbers(read_record(directory))["evaluations"] == 4


def test_a_campaign_without_an_iteration_is_refused(directory, tmp_path):
    (directory / "metrics.csv").unlink()
    with pytest.raises(CheckpointError, match="not finished an iteration"):
        read_record(directory)
    with pytest.raises(CheckpointError, match="not a run directory"):
        hacking_report(tmp_path / "nothing")


def test_the_hacking_report_names_what_is_conspicuous(directory):
    report = hacking_report(directory)
    assert (report.first.single_element_share, report.last.single_element_share) == (0.0, 1.0)
    assert (report.whole.crystals, report.whole.elements, report.whole.space_groups) == (7, 7, 2)
    assert (report.last.top_element, report.last.top_element_share) == ("Fe", 1.0)
    assert (report.validity_first, report.validity_last, report.divergence) == (1.0, 0.6, 0.03)
    assert report.first.effective_elements == pytest.approx(4)
    assert report.last.effective_elements == pytest.approx(1)
    text = " | ".join(report.warnings)
    for sign in (
        "100% of the late crystals are pure elements",
        "Fe is in 100%",
        "space group 221 is that of 100% of the late crystals |",
        "validity fell",
        "variety of elements",
    ):
        assert sign in text


def test_a_sound_campaign_is_not_accused():
    crystals = [evaluated(formula) for formula in ("NaCl", "MgO", "TiN", "FeO")]
    found = coverage(crystals, ReferenceSet.load("mp"))
    assert found.sparse_system_share == 0.0
    assert found.single_element_share == 0.0
    assert found.top_element_share == 0.5


def test_a_chemical_system_without_known_compounds_is_sparse():
    # Sodium and iron form no compound; their hull is that of the elements.
    crystals = [evaluated("NaFe"), evaluated("NaCl")]
    found = coverage(crystals, ReferenceSet.load("mp"))
    assert found.sparse_system_share == 0.5
    assert coverage(crystals, None).sparse_system_share is None


def test_late_failures_are_named(record):
    assert not any("evaluations failed" in warning for warning in judge_record(record).warnings)
    failed = [*record.evaluated[:-1], replace(record.evaluated[-1], reward=None)]
    assert "50% of the late evaluations failed" in judge_record(replace(record, evaluated=failed)).warnings


def test_orderings_of_an_alloy_are_suspected(record):
    low = replace(record, evaluated=[replace(crystal, space_group=1) for crystal in record.evaluated])
    assert "perhaps orderings of one alloy" in " ".join(judge_record(low).warnings)


def test_nothing_scored_is_no_accusation():
    found = coverage([], None)
    assert (found.crystals, found.single_element_share, found.top_element) == (0, None, "")
    assert (found.top_space_group, found.top_space_group_share) == (0, None)
