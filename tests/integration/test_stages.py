"""Stages and starting points in the toy world: they help, forget nothing stale, and survive any death."""

from __future__ import annotations

import csv
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pymatgen.core import Lattice, Structure
from tests.integration.toy_world import fingerprint, run_toy, toy_config

from matinvent.campaign import Campaign
from matinvent.candidate import Fate
from matinvent.config import StopConfig
from matinvent.errors import CheckpointError, ConfigError, InputError
from matinvent.memory.ledger import Ledger
from matinvent.reporting.events import Callback
from matinvent.reporting.sinks import CsvSink
from matinvent.reporting.summary import write_best
from matinvent.run_directory import RunDirectory
from matinvent.stages import Curriculum
from matinvent.testing.toy import ToyGenerator
from matinvent.trained_agent import load_agent


def heaviness(structure: Structure, scale: float) -> float:
    """A property of this test: the density times a factor."""
    return float(structure.density) * scale


def objective(target: float, hi: float, **more):
    return {"property": "density", "kind": "target", "target": target, "hi": hi, **more}


def scaled(scale: float):
    name = "tests.integration.test_stages:heaviness"
    return {"property": name, "params": {"scale": scale}, "kind": "maximize", "lo": 0, "hi": 30}


def stages(*listed) -> str:
    return f"stages={yaml.safe_dump(list(listed), default_flow_style=True)}"


LOOSE = {"name": "loose", "iterations": 3, "objectives": [objective(25.0, 20.0)]}
TIGHT = {"name": "tight", "iterations": 3, "objectives": [objective(25.0, 3.0, hit=[22, 28])]}
NO_ALUMINIUM = {"constraints": {"forbidden": ["Al"]}}


def hits(directory: Path) -> list[int]:
    with (directory / "metrics.csv").open() as file:
        return [int(row["hits"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_curriculum_reaches_what_the_tight_goal_alone_misses(tmp_path):
    tight = [objective(25.0, 3.0, hit=[22, 28])]
    loose = [objective(25.0, 20.0, hit=[22, 28])]
    courses = stages({"name": "loose", "iterations": 14, "objectives": loose}, {"name": "tight", "iterations": 10})
    found = {"alone": [], "curriculum": []}
    for seed in (1, 2):
        common = (f"objectives={yaml.safe_dump(tight, default_flow_style=True)}", f"seed={seed}", "iterations=24")
        run_toy(tmp_path / f"alone{seed}", *common)
        run_toy(tmp_path / f"curriculum{seed}", *common, courses)
        for kind, listed in found.items():
            listed.append(sum(hits(tmp_path / f"{kind}{seed}")[-6:]))
    assert statistics.fmean(found["curriculum"]) > 20
    assert statistics.fmean(found["alone"]) < statistics.fmean(found["curriculum"]) / 3


def test_a_campaign_of_one_stage_is_a_campaign_without_stages(tmp_path):
    one, _ = run_toy(tmp_path / "one", stages({"name": "all", "iterations": 3}))
    none, _ = run_toy(tmp_path / "none", "iterations=3")
    staged = one.ledger.candidates()
    assert {candidate.stage for candidate in staged} == {"all"}
    assert repr([replace(candidate, stage="") for candidate in staged]) == repr(none.ledger.candidates())
    for name, value in none.agent.state_dict().items():
        assert value.equal(one.agent.state_dict()[name])


def test_every_stage_pursues_its_own_goal_with_one_set_of_columns(tmp_path):
    second = {
        "name": "cubes",
        "iterations": 2,
        "objectives": [{"property": "hhi", "kind": "minimize", "lo": 0, "hi": 10000}, objective(20.0, 10.0)],
        "aggregation": "product",
        "evaluation": {"per_iteration": 5},
        "constraints": {"forbidden": ["Al", "Fe", "Cu", "Zr", "Ag"]},
    }
    campaign, reports = run_toy(tmp_path / "run", stages({"name": "first", "iterations": 2}, second))
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["1", "1", "2", "2"]
    assert [bool(row["hhi_mean"]) for row in rows] == [False, False, True, True]
    assert [bool(row["hypervolume"]) for row in rows] == [False, False, True, True]
    assert all(row["density_mean"] for row in rows)
    assert [report.funnel["scored"] for report in reports] == [16, 16, 5, 5]
    assert campaign.evaluations == 42
    candidates = campaign.ledger.candidates()
    assert {(c.iteration, c.stage) for c in candidates} == {(0, "first"), (1, "first"), (2, "cubes"), (3, "cubes")}
    scored = [c for c in candidates if c.fate is Fate.SCORED]
    assert all(set(c.scores) == ({"density"} if c.iteration < 2 else {"density", "hhi"}) for c in scored)
    assert all(c.reward == pytest.approx(c.scores["density"] * c.scores["hhi"]) for c in scored if c.iteration >= 2)
    excluded = {c.iteration for c in candidates if c.fate is Fate.EXCLUDED}
    assert excluded == {2, 3}
    assert "Fe" in {c.composition for c in scored if c.iteration < 2}
    assert not {c.composition for c in scored if c.iteration >= 2} & {"Al", "Fe", "Cu", "Zr", "Ag"}


def test_what_is_left_out_is_as_at_the_top_level():
    config = toy_config("stop.hits=7", "evaluation.executor=threads", stages({"name": "a", "iterations": 2}))
    (stage,) = config.by_stage()
    assert stage == config.model_copy(update={"iterations": 2, "stages": ()})
    changed = toy_config("stop.hits=7", stages({"name": "a", "iterations": 2, "stop": {"plateau": 3}}))
    assert changed.by_stage()[0].stop == StopConfig(hits=7, plateau=3)
    off = toy_config("stop.hits=7", stages({"name": "a", "iterations": 2, "stop": {"hits": None}}))
    assert off.by_stage()[0].stop == StopConfig()


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ({"max_evaluations": 20}, "32 evaluations spent"),
        ({"hits": 1}, "hits found"),
        ({"mean_reward": 0.2}, "mean reward reached 0.2"),
    ],
)
def test_rules_end_a_stage_by_what_happened_in_it(tmp_path, stop, reason):
    told: list[str] = []

    class Ear(Callback):
        def on_news(self, text):
            told.append(text)

    goal = [objective(18.0, 10.0, hit=[5, 30])]
    first = {"name": "first", "iterations": 9, "objectives": goal, "stop": stop}
    last = {"name": "last", "iterations": 2}
    campaign = Campaign.start(toy_config(stages(first, last)), tmp_path / "run", [CsvSink(), Ear()])
    summary = campaign.run()
    assert summary.stopped == "finished"
    assert summary.iterations < 11
    assert told[0].startswith("stage 1 of 2, first: density of 18; 9 iterations")
    assert told[1].startswith("stage first ends: ")
    assert reason in told[1]
    assert told[2].startswith("stage 2 of 2, last")
    assert campaign.curriculum.iterations == summary.iterations


def test_a_rule_of_the_last_stage_ends_the_campaign_and_stays_met(tmp_path):
    campaign, reports = run_toy(
        tmp_path / "run",
        stages({"name": "a", "iterations": 2}, {"name": "b", "iterations": 9, "stop": {"max_evaluations": 20}}),
    )
    assert campaign.stopped == "32 evaluations spent"
    assert len(reports) == 4
    summary = Campaign.resume(tmp_path / "run").run()
    assert (summary.iterations, summary.stopped) == (4, "32 evaluations spent")


def plateau(tmp_path, rewards: list[float | None], patience: int) -> int | None:
    """The iteration after which the rule ends a campaign with these mean rewards."""
    curriculum = Curriculum(toy_config(f"stop.plateau={patience}", "iterations=99"), tmp_path / "cache.db")
    try:
        for iteration, reward in enumerate(rewards):
            # A campaign may be saved and resumed at any iteration.
            state = curriculum.state_dict()
            curriculum.load_state_dict(state)
            if curriculum.close_iteration(iteration, reward, 0):
                return iteration
    finally:
        curriculum.close()
    return None


def test_a_plateau_is_no_better_running_mean_for_so_long(tmp_path):
    rising = [0.01 * i for i in range(40)]
    assert plateau(tmp_path, rising, 1) is None
    # The running mean of five is full at 4; it rises until all five are 0.5 (iteration 14), then no more.
    flat = [0.05 * i for i in range(10)] + [0.5] * 20
    assert plateau(tmp_path, flat, 4) == 14 + 4
    noisy = [0.5 + 0.1 * (-1) ** i for i in range(40)]
    assert plateau(tmp_path, noisy, 6) == 4 + 6
    # One lucky iteration at the start is no mean of five.
    assert plateau(tmp_path, [0.9, 0.1, 0.1, 0.1, 0.1, *[0.3 + 0.01 * i for i in range(9)]], 5) is None
    assert plateau(tmp_path, [None] * 9, 6) == 5, "nothing to reward is no improvement"


def test_the_replay_buffer_is_worth_what_the_new_goal_says(tmp_path):
    goals = [[objective(18.0, 10.0)], [objective(12.0, 8.0)]]
    campaign = Campaign.start(
        toy_config(
            "replay.min_reward=0.1",
            stages(*({"name": f"s{i}", "iterations": 2, "objectives": goal} for i, goal in enumerate(goals))),
        ),
        tmp_path / "run",
    )
    campaign.step()
    campaign.step()
    held = campaign.replay.sample(999, np.random.default_rng(0), campaign.diversity)
    assert held
    for entry in held:
        density = entry.structure.density
        assert entry.credit == pytest.approx(1 - abs(density - 12.0) / 8.0)
        assert entry.properties["density"] == density
    campaign.close()


def test_what_was_computed_otherwise_is_not_known(tmp_path):
    half = {"name": "half", "iterations": 1, "objectives": [scaled(0.5)]}
    double = {"name": "double", "iterations": 1, "objectives": [scaled(2.0)]}
    both = {"name": "both", "iterations": 1, "objectives": [scaled(2.0), objective(20, 20)]}
    campaign = Campaign.start(toy_config(stages(half, {**half, "name": "again"}, double, both)), tmp_path / "run")
    campaign.step()
    held = len(campaign.replay)
    assert held > 0, "the same goal: all stay"
    campaign.step()
    assert len(campaign.replay) == 0, "computed with other parameters"
    campaign.step()
    assert len(campaign.replay) == 0, "half of what the reward needs"
    summary = campaign.run()
    assert {c.iteration for c in summary.best} == {3}
    assert all(len(c.scores) == 2 for c in summary.best)


def test_the_best_crystals_are_those_of_the_last_goal(tmp_path):
    campaign = Campaign.start(toy_config(stages(LOOSE, TIGHT)), tmp_path / "run")
    summary = campaign.run()
    rewards = [c.reward for c in summary.best]
    assert rewards == sorted(rewards, reverse=True)
    for candidate in summary.best:
        assert candidate.reward == pytest.approx(1 - abs(candidate.properties["density"] - 25) / 3)
    known = [c.properties["density"] for c in campaign.ledger.candidates() if c.fate is Fate.SCORED]
    if rewards:
        assert rewards[0] == pytest.approx(1 - min(abs(density - 25) for density in known) / 3)


class Death(BaseException):
    """What a killed process does: nothing more."""


class Reaper(Callback):
    """Dies at a moment of an iteration."""

    def __init__(self, iteration: int, moment: str) -> None:
        self.iteration, self.moment = iteration, moment

    def on_stage(self, iteration, stage, done):
        if (iteration, stage) == (self.iteration, self.moment):
            raise Death

    def on_iteration(self, report):
        if (report.iteration, "told") == (self.iteration, self.moment):
            raise Death


GROWING = (
    stages(LOOSE, {**TIGHT, **NO_ALUMINIUM}, {"name": "more", "iterations": 2, "evaluation": {"per_iteration": 4}}),
    "seed=3",
    "screening.uniqueness=true",
    "screening.unique_within=campaign",
    "diversity.enabled=true",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stages") / "whole"
    run_toy(directory, *GROWING)
    return fingerprint(directory)


def die_and_resume(directory: Path, moments, *overrides: str) -> None:
    """Run a campaign that dies at each moment in turn, to its end."""
    begin = lambda callbacks: Campaign.start(toy_config(*overrides), directory, callbacks)  # noqa: E731
    for iteration, moment in moments:
        with pytest.raises(Death):
            begin([CsvSink(), Reaper(iteration, moment)]).run()
        begin = lambda callbacks: Campaign.resume(directory, callbacks)  # noqa: E731
    begin([CsvSink()]).run()


@pytest.mark.parametrize(
    "moments",
    [
        [(2, "learn"), (2, "told"), (3, "sample")],
        [(3, "evaluate"), (3, "told"), (4, "learn")],
        [(5, "remember"), (5, "told"), (6, "sample"), (7, "told")],
    ],
)
def test_a_campaign_killed_at_a_border_continues_as_if_nothing_had_happened(tmp_path, whole, moments):
    die_and_resume(tmp_path / "run", moments, *GROWING)
    assert fingerprint(tmp_path / "run") == whole


@pytest.mark.parametrize("before", [True, False])
def test_death_around_the_checkpoint_of_a_border(tmp_path, whole, monkeypatch, before):
    save = RunDirectory.save

    def deadly(self, iteration, weights, memory):
        if not (before and iteration == 3):
            save(self, iteration, weights, memory)
        if iteration == 3:
            raise Death

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "save", deadly)
        campaign = Campaign.start(toy_config(*GROWING), tmp_path / "run", [CsvSink()])
        with pytest.raises(Death):
            campaign.run()
    Campaign.resume(tmp_path / "run", [CsvSink()]).run()
    assert fingerprint(tmp_path / "run") == whole


def test_the_agent_of_every_stage_can_be_loaded(tmp_path):
    campaign, _ = run_toy(tmp_path / "run", *GROWING)
    for name, value in campaign.agent.state_dict().items():
        assert value.equal(load_agent(tmp_path / "run").state_dict()[name])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objectves": []}, r"unknown key 'stages.0.objectves' \(did you mean 'objectives'\?\)"),
        ({"stop": {"plato": 3}}, r"unknown key 'stages.0.stop.plato' \(did you mean 'plateau'\?\)"),
        ({"objectives": [{"property": "density", "kind": "target", "tarjet": 3}]}, r"did you mean 'target'"),
        ({"objectives": [objective(1.0, 2.0)] * 2}, r"stages\.0\.objectives.*name a property twice: density"),
        ({"iterations": 0}, r"'stages.0.iterations'"),
        ({"constraints": {"max_elements": 1}}, r"min_elements \(2\) must not exceed max_elements \(1\)"),
    ],
)
def test_faults_in_stages_are_named(change, said):
    with pytest.raises(ConfigError, match=said):
        toy_config("constraints.min_elements=2", stages({"name": "a", "iterations": 2, **change}))


def test_stages_need_names_of_their_own_and_iterations():
    with pytest.raises(ConfigError, match="name two the same: a"):
        toy_config(stages({"name": "a", "iterations": 2}, {"name": "a", "iterations": 2}))
    with pytest.raises(ConfigError, match=r"'stages.0.name' is required; 'stages.0.iterations' is required"):
        toy_config("stages=[{}]")


def test_a_fault_of_a_later_stage_is_found_at_the_start(tmp_path):
    wrong = {"name": "b", "iterations": 1, "objectives": [{**objective(1.0, 2.0), "property": "densty"}]}
    with pytest.raises(ConfigError, match=r"stage 'b': .*densty"):
        Campaign.start(toy_config(stages(LOOSE, wrong)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_of_stages_are_overridden_and_written_as_given():
    config = toy_config(stages(LOOSE, TIGHT), "stages.0.iterations=5", "stages.1.objectives.0.hi=4")
    assert config.total_iterations == 8
    assert config.by_stage()[1].objectives[0].hi == 4
    again = yaml.safe_load(config.to_yaml())
    assert set(again["stages"][0]) == {"name", "iterations", "objectives"}


# Starting points


def write_crystals(folder: Path) -> list[str]:
    """Heavy toy crystals, one without a meaning to the generator, and a file that is none."""
    folder.mkdir()
    for symbol, edge in (("W", 2.5), ("Au", 2.6), ("Li", 4.0)):
        Structure(Lattice.cubic(edge), [symbol], [[0, 0, 0]]).to(str(folder / f"{symbol}.cif"))
    Structure(Lattice.cubic(2.55), ["Os"], [[0, 0, 0]]).to(str(folder / "Os.cif"))
    (folder / "broken.cif").write_text("no crystal")
    return [f"start.crystals=[{folder}]"]


def test_starting_crystals_are_paid_for_recorded_and_replayed(tmp_path):
    overrides = write_crystals(tmp_path / "mine")
    campaign = Campaign.start(toy_config("iterations=1", *overrides), tmp_path / "run", [CsvSink()])
    campaign.begin()
    assert campaign.evaluations == 4
    held = campaign.replay.sample(99, np.random.default_rng(0), campaign.diversity)
    assert {entry.composition for entry in held} == {"W", "Au"}, "Li is worth nothing, Os cannot be learned"
    assert not campaign.diversity.count("W")
    given = {Path(c.source).name: c for c in campaign.ledger.candidates(-1)}
    assert {name: c.fate for name, c in given.items()} == {
        "W.cif": Fate.SCORED, "Au.cif": Fate.SCORED, "Li.cif": Fate.SCORED, "Os.cif": Fate.SCORED,
        "broken.cif": Fate.INVALID,
    }  # fmt: skip
    assert given["W.cif"].reward == pytest.approx(1 - abs(given["W.cif"].properties["density"] - 18) / 10)
    summary = campaign.run()
    assert summary.evaluations == 4 + 16
    assert summary.hits == sum(c.hit is True for c in campaign.ledger.candidates(0))
    assert all(c.iteration == 0 and not c.source for c in summary.best)
    write_best(summary)


def test_what_must_not_be_is_no_start_either(tmp_path):
    overrides = write_crystals(tmp_path / "mine")
    campaign = Campaign.start(toy_config("constraints.forbidden=[Au]", *overrides), tmp_path / "run")
    campaign.begin()
    fates = {Path(c.source).name: c.fate for c in campaign.ledger.candidates(-1)}
    assert fates["Au.cif"] is Fate.EXCLUDED
    assert len(campaign.replay) == 1
    campaign.close()


@pytest.mark.slow
def test_starting_crystals_speed_a_campaign_up(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for symbol in ("W", "Pt", "Au"):
        edge = {"W": 2.33, "Pt": 2.38, "Au": 2.38}[symbol]
        Structure(Lattice.cubic(edge), [symbol], [[0, 0, 0]]).to(str(folder / f"{symbol}.cif"))
    tight = yaml.safe_dump([objective(24.0, 3.0)], default_flow_style=True)
    for name, start in (("with", f"[{folder}]"), ("without", "[]")):
        run_toy(tmp_path / name, f"objectives={tight}", f"start.crystals={start}", "iterations=14")
    assert sum(hits(tmp_path / "with")) > 3 * sum(hits(tmp_path / "without"))


@pytest.mark.parametrize("moments", [[(0, "start")], [(0, "start"), (0, "sample"), (1, "told")]])
def test_death_among_the_starting_crystals_changes_nothing(tmp_path, moments):
    overrides = (*write_crystals(tmp_path / "mine"), "iterations=2")
    run_toy(tmp_path / "whole", *overrides)
    die_and_resume_without_files(tmp_path, moments, *overrides)
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "whole")


def die_and_resume_without_files(tmp_path, moments, *overrides):
    """As :func:`die_and_resume`, but the user's files are gone after the first death."""
    first, *others = moments
    with pytest.raises(Death):
        Campaign.start(toy_config(*overrides), tmp_path / "run", [CsvSink(), Reaper(*first)]).run()
    shutil.rmtree(tmp_path / "mine")
    for moment in others:
        with pytest.raises(Death):
            Campaign.resume(tmp_path / "run", [CsvSink(), Reaper(*moment)]).run()
    Campaign.resume(tmp_path / "run", [CsvSink()]).run()


def test_death_between_the_ledger_and_the_first_checkpoint(tmp_path, monkeypatch):
    overrides = (*write_crystals(tmp_path / "mine"), "iterations=2")
    run_toy(tmp_path / "whole", *overrides)

    def deadly(self, iteration, weights, memory):
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "save", deadly)
        campaign = Campaign.start(toy_config(*overrides), tmp_path / "run", [CsvSink()])
        with pytest.raises(Death):
            campaign.run()
    assert len(Ledger(tmp_path / "run" / "ledger.db").candidates()) == 5
    Campaign.resume(tmp_path / "run", [CsvSink()]).run()
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "whole")


def test_no_crystals_where_some_are_named(tmp_path):
    (tmp_path / "broken.cif").write_text("no crystal")
    for file, said in (("nowhere", "no such file"), ("broken.cif", "none of 1 crystals can be read, e.g.")):
        with pytest.raises(InputError, match=said):
            Campaign.start(toy_config(f"start.crystals={tmp_path / file}"), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def equal(one, other) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("prior", ["pretrained", "agent"])
def test_a_campaign_goes_on_from_the_agent_of_another(tmp_path, prior):
    first, _ = run_toy(tmp_path / "first", "iterations=3")
    overrides = (f"start.agent={tmp_path / 'first'}", f"start.prior={prior}", "iterations=2", "seed=9")
    campaign = Campaign.start(toy_config(*overrides), tmp_path / "probe")
    assert equal(campaign.agent, first.agent)
    assert equal(campaign.learner.prior, ToyGenerator() if prior == "pretrained" else first.agent)
    assert not campaign.learner.state_dict()["optimizer"]["state"], "Adam starts anew"
    campaign.close()
    run_toy(tmp_path / "whole", *overrides)
    with pytest.raises(Death):
        Campaign.start(toy_config(*overrides), tmp_path / "run", [CsvSink(), Reaper(1, "learn")]).run()
    shutil.rmtree(tmp_path / "first")
    Campaign.resume(tmp_path / "run", [CsvSink()]).run()
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "whole")


def test_an_agent_of_another_prior_is_refused(tmp_path, monkeypatch):
    run_toy(tmp_path / "first", "iterations=1")
    original = ToyGenerator.__init__

    def changed(self):
        original(self)
        self.mean.data.add_(0.5)

    monkeypatch.setattr(ToyGenerator, "__init__", changed)
    with pytest.raises(ConfigError, match="began from another prior"):
        Campaign.start(toy_config(f"start.agent={tmp_path / 'first'}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_a_run_directory_has_an_agent(tmp_path):
    with pytest.raises(CheckpointError, match="not a run directory"):
        Campaign.start(toy_config(f"start.agent={tmp_path}"), tmp_path / "run")
    with pytest.raises(ConfigError, match="prior 'agent' needs an agent"):
        toy_config("start.prior=agent")
