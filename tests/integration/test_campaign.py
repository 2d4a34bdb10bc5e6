"""The whole loop in the toy world: it learns, repeats itself, and continues after any death."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from pymatgen.core import Lattice, Structure
from tests.integration.toy_world import TOY, fingerprint, run_toy, toy_config
from tests.unit.screening_world import StillRelaxer

from matinvent.campaign import Campaign
from matinvent.candidate import Candidate, Fate
from matinvent.errors import CheckpointError, ConfigError
from matinvent.interrupt import Interrupted
from matinvent.memory.ledger import Ledger
from matinvent.metrics import iteration_metrics
from matinvent.reporting.sinks import CsvSink
from matinvent.reporting.summary import write_best
from matinvent.screening import screen
from matinvent.tasks import load_task
from matinvent.testing.toy import ELEMENTS, ToyGenerator
from matinvent.trained_agent import load_agent


def test_the_reward_at_least_doubles(tmp_path):
    _, reports = run_toy(tmp_path / "run", "iterations=12")
    rewards = [r.metrics["reward_mean"] for r in reports]
    assert statistics.fmean(rewards[-3:]) >= 2 * statistics.fmean(rewards[:3])
    assert statistics.fmean(rewards[-3:]) > 0.7


def test_equal_seeds_give_equal_campaigns_and_others_do_not(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_toy(tmp_path / name, f"seed={seed}", "iterations=3")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    assert fingerprint(tmp_path / "a")["rows"] != fingerprint(tmp_path / "c")["rows"]


def test_every_candidate_has_a_fate_in_the_ledger(tmp_path):
    campaign, reports = run_toy(tmp_path / "run", "iterations=3")
    candidates = Ledger(tmp_path / "run" / "ledger.db").candidates()
    assert len(candidates) == 3 * 32
    assert campaign.evaluations == 3 * 16
    assert sum(c.fate is Fate.SCORED for c in candidates) == sum(r.funnel["scored"] for r in reports)
    assert all(c.reason for c in candidates if c.fate is not Fate.SCORED)
    assert all((c.reward is not None) == (c.fate is Fate.SCORED) for c in candidates)


def test_the_ledger_says_who_proposed_a_crystal(tmp_path):
    run_toy(tmp_path / "run", "iterations=2", "acquisition.from_prior=0.25")
    proposed = Counter(c.proposed_by for c in Ledger(tmp_path / "run" / "ledger.db").candidates())
    assert proposed == {"agent": 2 * 24, "prior": 2 * 8}
    run_toy(tmp_path / "alone", "iterations=1", "acquisition.enabled=false")
    assert {c.proposed_by for c in Ledger(tmp_path / "alone" / "ledger.db").candidates()} == {"agent"}


def test_what_is_proposed_again_wears_its_reward_out(tmp_path):
    campaign, _ = run_toy(tmp_path / "run", "iterations=8", "screening.uniqueness=true")
    scored, again = Counter(), set()
    for candidate in campaign.ledger.candidates():
        if candidate.fate is Fate.SCORED:
            scored[candidate.iteration, candidate.composition] += 1
        elif candidate.fate is Fate.DUPLICATE:
            again.add((candidate.iteration, candidate.composition))
    assert again - set(scored)
    for composition in {composition for _, composition in again}:
        rewarded = sum(number for (_, name), number in scored.items() if name == composition)
        repeated = sum(name == composition for _, name in again - set(scored))
        assert campaign.diversity.count(composition) == rewarded + repeated


def test_what_earns_nothing_any_more_is_screened_last(tmp_path, monkeypatch):
    campaign = Campaign.start(toy_config("diversity.enabled=true", "diversity.by=composition"), tmp_path / "run")
    for _ in range(4):
        campaign.step()
    monkeypatch.setattr(campaign.screener, "screen", lambda first, *_, **__: first)
    monkeypatch.setattr(campaign.acquisition, "choose", lambda survivors, *_: (survivors, []))

    def order() -> list[str]:
        proposals = campaign.sample(lambda *_: None)  # the same ones again: draws depend on the iteration alone
        return [candidate.composition for candidate in campaign.screen(proposals, lambda *_: None)]

    favourite = order()[0]
    while campaign.diversity.factor(favourite) > 0:
        campaign.diversity.credit(favourite, 1.0)
    ordered = order()
    assert favourite not in ordered[: len(ordered) // 2]
    campaign.close()


def test_a_run_directory_is_never_overwritten(tmp_path):
    run_toy(tmp_path / "run", "iterations=1")
    before = fingerprint(tmp_path / "run")
    with pytest.raises(ConfigError, match="never overwritten"):
        Campaign.start(toy_config(), tmp_path / "run")
    assert fingerprint(tmp_path / "run") == before


def test_a_campaign_that_cannot_start_leaves_nothing_behind(tmp_path):
    with pytest.raises(ConfigError, match="no-such-prior"):
        Campaign.start(toy_config("generator.prior=no-such-prior"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_a_run_directory_can_be_resumed(tmp_path):
    with pytest.raises(CheckpointError, match="not a run directory"):
        Campaign.resume(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    run_toy(tmp_path / "run", "iterations=2")
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    (newest / "weights.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=newest.name):
        Campaign.resume(tmp_path / "run")


def test_a_campaign_does_not_go_on_without_what_it_has_seen(tmp_path):
    campaign, _ = run_toy(tmp_path / "run", "iterations=2")
    write_best(campaign._summarise("finished"))
    kept = {path.name for path in (tmp_path / "run" / "best").iterdir()}
    (tmp_path / "run" / "ledger.db").rename(tmp_path / "moved.db")
    with pytest.raises(CheckpointError, match=r"ledger\.db: missing"):
        Campaign.resume(tmp_path / "run")
    assert kept
    assert {path.name for path in (tmp_path / "run" / "best").iterdir()} == kept
    (tmp_path / "moved.db").rename(tmp_path / "run" / "ledger.db")
    Campaign.resume(tmp_path / "run").close()


@pytest.mark.parametrize(
    ("edit", "allowed"), [(("target: 18", "target: 12"), False), (("iterations: 2", "iterations: 3"), True)]
)
def test_rewards_of_two_goals_are_never_mixed(tmp_path, edit, allowed):
    run_toy(tmp_path / "run", "iterations=2")
    settings = tmp_path / "run" / "config.yaml"
    before = settings.read_text(encoding="utf-8")
    settings.write_text(before.replace(*edit), encoding="utf-8")
    assert settings.read_text(encoding="utf-8") != before
    if allowed:
        Campaign.resume(tmp_path / "run").close()
    else:
        with pytest.raises(ConfigError, match="rewards of two goals cannot be mixed"):
            Campaign.resume(tmp_path / "run")


def test_a_copy_of_a_checkpoint_is_none(tmp_path):
    run_toy(tmp_path / "run", "iterations=2")
    (tmp_path / "run" / "checkpoints" / "iteration-00002-backup").mkdir()
    campaign = Campaign.resume(tmp_path / "run")
    assert campaign.iteration == 2
    campaign.close()


def test_that_all_rewards_are_zero_is_said(tmp_path):
    _, reports = run_toy(tmp_path / "run", "iterations=1", "objectives.0.target=40", "objectives.0.hi=1")
    assert any("all rewards are 0" in note and "density" in note for note in reports[0].notes)


def test_stop_rules_end_a_campaign_early(tmp_path):
    campaign, reports = run_toy(tmp_path / "a", "stop.max_evaluations=40")
    assert campaign.evaluations == 48
    assert len(reports) == 3
    _, reports = run_toy(tmp_path / "b", "stop.mean_reward=0.5", "iterations=30")
    assert reports[-1].metrics["reward_mean"] >= 0.5
    assert len(reports) < 30


def test_the_agent_of_a_run_can_be_loaded(tmp_path):
    campaign, _ = run_toy(tmp_path / "run", "iterations=2")
    agent = load_agent(tmp_path / "run")
    for name, value in campaign.agent.state_dict().items():
        assert value.equal(agent.state_dict()[name])


def start_process(arguments, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "matinvent", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_checkpoints(directory: Path, process, at_least: int):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(directory.glob("checkpoints/iteration-*"))) >= at_least:
            return
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "delay"), [(signal.SIGKILL, 0.0), (signal.SIGKILL, 0.37), (signal.SIGTERM, 0.1)])
def test_a_killed_campaign_continues_as_if_nothing_had_happened(tmp_path, number, delay):
    config = tmp_path / "toy.yaml"
    config.write_text(yaml.safe_dump({**TOY, "iterations": 12, "seed": 5}))
    run_toy(tmp_path / "whole", "iterations=12", "seed=5")
    process = start_process(["run", config, "--output", "killed"], tmp_path)
    wait_for_checkpoints(tmp_path / "killed", process, 2)
    time.sleep(delay)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    if number == signal.SIGTERM and process.returncode != 0:
        assert "resume" in output
    finished = start_process(["resume", "killed"], tmp_path)
    output, _ = finished.communicate(timeout=120)
    assert finished.returncode == 0, output
    assert fingerprint(tmp_path / "killed") == fingerprint(tmp_path / "whole")


def test_kinds_that_are_never_stable_are_avoided_also_after_a_resume(tmp_path, monkeypatch):
    heavy = ("W", "Pt", "Au")  # what the goal asks for most; only gold relaxes
    energies = dict.fromkeys(ELEMENTS, -3.0)
    monkeypatch.setattr(screen, "make_relaxer", lambda *_: StillRelaxer(energies, failing=["W", "Pt"]))
    settings = ("iterations=8", "screening.relaxation.enabled=true", "feasibility.min_screened=12")
    whole, _ = run_toy(tmp_path / "whole", *settings)
    begun = Campaign.start(toy_config(*settings), tmp_path / "cut", [CsvSink()])
    step = begun.step

    def interrupted():
        if begun.iteration == 4:
            raise Interrupted
        return step()

    monkeypatch.setattr(begun, "step", interrupted)
    begun.run()
    Campaign.resume(tmp_path / "cut", [CsvSink()]).run()
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")
    tungsten, platinum, gold = whole.feasibility.chances([Structure(Lattice.cubic(3), [e], [[0, 0, 0]]) for e in heavy])
    assert max(tungsten, platinum) < 0.3
    assert gold > 0.7


def test_a_stop_rule_that_was_met_stays_met_after_a_resume(tmp_path):
    campaign, _ = run_toy(tmp_path / "run", "stop.max_evaluations=40")
    again = Campaign.resume(tmp_path / "run")
    summary = again.run()
    assert summary.evaluations == campaign.evaluations == 48
    assert summary.stopped == "48 evaluations spent"


@pytest.mark.parametrize("rule", ["max_evaluations: 40", "mean_reward: 0.01", "hits: 1"])
def test_a_stop_rule_that_was_met_can_be_lifted(tmp_path, rule):
    campaign, _ = run_toy(tmp_path / "run", f"stop={{{rule}}}", "objectives.0.hit=[1,30]")
    assert campaign.stopped
    assert campaign.iteration < 8
    settings = tmp_path / "run" / "config.yaml"
    text = settings.read_text(encoding="utf-8")
    key, _, value = rule.partition(": ")
    lifted = re.sub(rf"(\n  {key}:) {value}\b.*", r"\1 null", text)
    assert lifted != text
    settings.write_text(lifted, encoding="utf-8")
    assert Campaign.resume(tmp_path / "run").run().iterations == 8


def test_hits_are_counted_across_sessions_and_end_a_campaign(tmp_path):
    campaign, reports = run_toy(tmp_path / "run", "objectives.0.hit=[17,19]", "stop.hits=10")
    counted = [int(report.metrics["hits"] or 0) for report in reports]
    assert campaign.hits == sum(counted) >= 10 > sum(counted[:-1])
    assert campaign.stopped == f"{campaign.hits} hits found"
    recorded = [c for c in campaign.ledger.candidates() if c.hit]
    assert len(recorded) == campaign.hits
    assert all(17 <= c.properties["density"] <= 19 for c in recorded)
    again = Campaign.resume(tmp_path / "run")
    assert again.hits == campaign.hits
    again.close()


def test_two_processes_never_share_a_run_directory(tmp_path):
    campaign = Campaign.start(toy_config(), tmp_path / "run")
    with pytest.raises(CheckpointError, match="another process"):
        Campaign.resume(tmp_path / "run")
    campaign.close()
    Campaign.resume(tmp_path / "run").close()


def test_a_changed_prior_is_noticed(tmp_path, monkeypatch):
    run_toy(tmp_path / "run", "iterations=1")
    original = ToyGenerator.__init__

    def changed(self):
        original(self)
        self.mean.data.add_(0.5)

    monkeypatch.setattr(ToyGenerator, "__init__", changed)
    with pytest.raises(CheckpointError, match="other weights"):
        Campaign.resume(tmp_path / "run")


def test_the_sun_share_does_not_depend_on_how_many_samples_were_needed():
    valid = [Candidate(0, i, None, fate=f) for i, f in enumerate([Fate.SCORED, Fate.UNSTABLE] * 5)]
    waiting = [Candidate(0, i, None, fate=Fate.GENERATED) for i in range(20)]
    invalid = [Candidate(0, i, None, fate=Fate.INVALID) for i in range(20)]
    config = load_task("density")
    metrics = iteration_metrics(config, [*valid, *waiting, *invalid], None, 0, 0)
    assert metrics["validity"] == pytest.approx(0.6)
    assert metrics["sun"] == pytest.approx(0.6 * 0.5)
    unscreened = load_task("density", overrides=["screening.enabled=false"])
    assert iteration_metrics(unscreened, valid, None, 0, 0)["sun"] is None


def test_the_first_iteration_evaluates_an_initial_design(tmp_path):
    _, reports = run_toy(tmp_path / "run", "iterations=3", "evaluation.initial=24", "acquisition.surplus=2")
    assert [report.funnel["scored"] for report in reports] == [24, 16, 16]
    again, _ = run_toy(tmp_path / "small", "iterations=2", "evaluation.initial=4")
    assert again.evaluations == 32  # never fewer than in the others
