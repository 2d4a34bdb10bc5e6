"""Campaigns whose weights move: exact resume, rewards that can be compared, and replayed crystals that keep up."""

from __future__ import annotations

import pytest
from tests.integration.toy_world import fingerprint, run_toy, toy_config

from matinvent.campaign import Campaign
from matinvent.errors import ConfigError
from matinvent.memory.ledger import Ledger
from matinvent.reporting.sinks import CsvSink

MOVING = (
    (
        "objectives=[{property: density, kind: maximize, lo: 0, hi: 20}, "
        "{property: volume_per_atom, kind: maximize, lo: 10, hi: 60}]"
    ),
    "aggregation=chebyshev",
    "preferences.moving=true",
    "iterations=6",
)


def test_a_resumed_campaign_has_the_same_preferences(tmp_path):
    run_toy(tmp_path / "whole", *MOVING)
    campaign = Campaign.start(toy_config(*MOVING), tmp_path / "killed", [CsvSink()])
    campaign.audience.meet(campaign.config, campaign.directory.path, 0)
    for _ in range(3):
        campaign.step()
    campaign.close()
    Campaign.resume(tmp_path / "killed", [CsvSink()]).run()
    assert fingerprint(tmp_path / "killed") == fingerprint(tmp_path / "whole")


def test_credits_move_and_rewards_do_not(tmp_path):
    campaign, _ = run_toy(tmp_path / "run", *MOVING)
    scored = [c for c in Ledger(campaign.directory.ledger_file).candidates() if c.reward is not None]
    for candidate in scored:
        shortfall = 1 - min(candidate.scores.values())
        assert candidate.reward == pytest.approx(1 - shortfall)
        assert candidate.credit == campaign.rewards.worth(candidate.scores, candidate.iteration)
    assert any(candidate.credit != candidate.reward for candidate in scored)


def test_remembered_crystals_are_worth_what_they_are_now(tmp_path):
    campaign, _ = run_toy(tmp_path / "run", *MOVING)
    replayed = campaign.replay.sample(5, campaign.draws.numpy(0, "test"), campaign.diversity)
    worth = []
    for iteration in (6, 7):
        campaign.iteration = iteration
        worth.append([campaign.lessons.credit_now(r, campaign.rewards, iteration) for r in replayed])
        scores = [campaign.rewards.score(r.properties).scores for r in replayed]
        assert worth[-1] == [campaign.rewards.worth(s, iteration) for s in scores]
    assert worth[0] != worth[1]


def test_one_goal_has_nothing_to_move_between(tmp_path):
    with pytest.raises(ConfigError, match="two or more objectives"):
        Campaign.start(toy_config("preferences.moving=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
