"""Bad iterations: the campaign goes on, says what happened, and nothing of it becomes a reward."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from pymatgen.core import Lattice, Structure
from tests.integration.toy_world import toy_config

from matinvent.campaign import Campaign
from matinvent.candidate import Fate
from matinvent.errors import Failure
from matinvent.testing.toy import ToyGenerator

SILICON = Structure.from_spacegroup(227, Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]).get_primitive_structure()


class Scripted(ToyGenerator):
    """Samples the crystals it was given."""

    crystals: list[Structure | Failure]

    def sample(self, n, rng, progress=None):
        return list(self.crystals)


class ScriptedProperties:
    """Answers every evaluation with the given result."""

    def __init__(self, *results):
        self.results = results

    def evaluate(self, structures, progress=None):
        return [self.results[i % len(self.results)] for i in range(len(structures))]

    def close(self):
        """Nothing to close."""


def scripted_generator(config):
    """Factory for the configuration."""
    return Scripted()


def campaign_of(tmp_path, *overrides, crystals=None):
    prior = "generator.prior=tests.faults.test_campaign_faults:scripted_generator"
    overrides = (prior, *overrides) if crystals is not None else overrides
    campaign = Campaign.start(toy_config("iterations=2", *overrides), tmp_path / "run")
    if crystals is not None:
        campaign.agent.crystals = crystals
        campaign.learner.prior.crystals = []  # what the prior proposes is not what these tests are about
    return campaign


def weights(campaign):
    return copy.deepcopy(campaign.agent.state_dict())


def unchanged(campaign, before):
    return all(torch.equal(before[name], value) for name, value in campaign.agent.state_dict().items())


@pytest.mark.parametrize(
    "result",
    [
        Failure("error", "the program crashed"),
        {"density": math.nan},
        {"density": math.inf},
        {"density": -math.inf},
        {"something_else": 1.0},
        {},
    ],
    ids=str,
)
def test_results_without_a_finite_number_never_become_rewards(tmp_path, result):
    campaign = campaign_of(tmp_path)
    campaign.properties = ScriptedProperties(result)
    before = weights(campaign)
    report = campaign.step()
    candidates = campaign.ledger.candidates()
    assert report.funnel["scored"] == 0
    assert report.metrics["reward_mean"] is None
    assert campaign.evaluations == 16, "failed evaluations are spent"
    assert any("16 of 16 evaluations failed" in note for note in report.notes)
    assert all(c.reward is None and c.credit is None for c in candidates)
    assert sum(c.fate is Fate.EVAL_FAILED for c in candidates) == 16
    assert len(campaign.replay) == 0
    assert unchanged(campaign, before)
    campaign.step()


def test_a_partial_failure_leaves_the_others_their_rewards(tmp_path):
    campaign = campaign_of(tmp_path)
    campaign.properties = ScriptedProperties({"density": 18.0}, {"density": math.inf})
    report = campaign.step()
    assert report.funnel["scored"] == 8
    assert report.metrics["reward_mean"] == 1.0


def test_zero_survivors(tmp_path):
    campaign = campaign_of(tmp_path, "screening.validity.min_volume=1e6")
    before = weights(campaign)
    report = campaign.step()
    assert report.funnel == {**dict.fromkeys(report.funnel, 0), "sampled": 32}
    assert report.notes[0].startswith("no crystal survived the screening; 32 of 32 invalid, e.g. ")
    assert campaign.evaluations == 0
    assert unchanged(campaign, before)
    campaign.step()


@pytest.mark.parametrize("crystals", [[], [Failure("not-finite", "the sampler produced non-finite numbers")]])
def test_a_generator_that_produces_nothing(tmp_path, crystals):
    campaign = campaign_of(tmp_path, crystals=crystals)
    report = campaign.step()
    assert report.funnel["scored"] == 0
    assert [c.fate for c in campaign.ledger.candidates()] == [Fate.INVALID] * len(crystals)


def test_one_crystal_only(tmp_path):
    tungsten = Structure(Lattice.cubic(2.5), ["W"], [[0, 0, 0]])  # dense enough for a reward
    campaign = campaign_of(tmp_path, crystals=[tungsten])
    before = weights(campaign)
    report = campaign.step()
    assert report.funnel["scored"] == 1
    assert not unchanged(campaign, before)


def test_crystals_that_cannot_be_encoded_are_reported_and_not_learned(tmp_path):
    campaign = campaign_of(tmp_path, crystals=[SILICON])
    campaign.properties = ScriptedProperties({"density": 18.0})
    before = weights(campaign)
    report = campaign.step()
    assert report.funnel["scored"] == 1
    assert any("cannot be learned" in note for note in report.notes)
    assert unchanged(campaign, before)


def test_odd_crystals_meet_the_real_screening(tmp_path):
    odd = {
        "element the potential does not know": Structure(Lattice.cubic(3.5), ["Cm"], [[0, 0, 0]]),
        "isolated atom": Structure(Lattice.cubic(24.0), ["Fe"], [[0, 0, 0]]),
        "overlapping atoms": Structure(Lattice.cubic(4.0), ["Fe", "Fe"], [[0, 0, 0], [0.01, 0, 0]]),
        "not a number": Structure(Lattice.cubic(4.0), ["Fe"], [[math.nan, 0, 0]]),
        "disordered": Structure(Lattice.cubic(4.0), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]]),
    }
    campaign = campaign_of(
        tmp_path,
        "screening.relaxation.enabled=true",
        "screening.stability=true",
        "screening.workers=1",
        "screening.relaxation.max_steps=3",
        crystals=list(odd.values()),
    )
    try:
        report = campaign.step()
    finally:
        campaign.close()
    candidates = campaign.ledger.candidates()
    assert report.funnel["scored"] == 0
    assert len(candidates) == len(odd)
    for name, candidate in zip(odd, candidates, strict=True):
        assert candidate.fate in (Fate.INVALID, Fate.RELAX_FAILED, Fate.UNSTABLE), name
        assert candidate.reason, name
        assert candidate.reward is None
