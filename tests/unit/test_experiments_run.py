"""Experiments in the toy world: run, stopped at any point, resumed, reported."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from tests.integration.toy_world import TOY, fingerprint, run_toy, toy_config

from matinvent.campaign import Campaign
from matinvent.candidate import Fate
from matinvent.config_screening import ScreeningConfig
from matinvent.errors import CheckpointError, ConfigError, InputError, MatInventError
from matinvent.execution import executors
from matinvent.experiments import runner, worker
from matinvent.experiments.catalogue import Request, plan
from matinvent.experiments.conduct import conduct, report_so_far
from matinvent.experiments.revaluation import Revaluation
from matinvent.interrupt import Interrupted
from matinvent.memory.ledger import Ledger
from matinvent.run_directory import RunDirectory


class Silent:
    """A listener that only remembers."""

    def __init__(self):
        self.begun, self.faults, self.shares = [], {}, []

    def started(self, planned):
        self.begun.append(planned.name)

    def progress(self, done, total):
        self.shares.append(done / total)

    def ended(self, planned, seconds, fault):
        self.faults[planned.name] = fault


class Inline:
    """Does a worker's work in this process: no time is lost on starting another."""

    fault = runner._Process.fault

    def __init__(self, folder, planned):
        self.planned, self.start, self._folder = planned, time.monotonic(), folder
        self._log = folder.log_file(planned.name)
        self._log.touch()
        try:
            worker.main(folder.path, planned.name, planned.judging, planned.source)
            code = 0
        except SystemExit as left:
            code = left.code
        self.popen = SimpleNamespace(poll=lambda: code, returncode=code, terminate=lambda: None, wait=lambda _: None)


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr(runner, "_Process", Inline)
    monkeypatch.setattr(runner, "_LOOK", 0.0)
    monkeypatch.setattr(worker, "_follow_parent", lambda: None)


@pytest.fixture
def toy(tmp_path):
    """A campaign file of the toy world with two goals."""
    goals = [
        {"property": "density", "kind": "target", "target": 18, "hi": 10, "hit": [17, 19]},
        {"property": "hhi", "kind": "minimize", "lo": 750, "hi": 3250},
    ]
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump({**TOY, "objectives": goals}), encoding="utf-8")
    return str(file)


def request(toy, name="screening", seeds=1, iterations=3) -> Request:
    return Request(name, seeds=seeds, tasks=(toy,), settings=(f"iterations={iterations}", "threads=1"))


def run(request_, folder, *, resume=False, listener=None):
    return conduct(request_, plan(request_), folder, listener or Silent(), resume=resume)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_experiment_leaves_report_tables_and_figures(inline, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(ScreeningConfig, "complete", True)  # as if the toy world knew stability: SUN is reported
    listener = Silent()
    report = run(request(toy), tmp_path / "out", listener=listener)
    assert listener.begun == ["toy-learned-0", "toy-unscreened-0", "toy-prior-0"]
    assert set(listener.faults.values()) == {""}
    assert listener.shares[-1] == 1.0
    text = report.read_text(encoding="utf-8")
    for part in ("matinvent experiment screening", "machine:", "seeds: 0", "Fig. 1b", "## Ablation", "hacked"):
        assert part in text
    figures = {path.name for path in report.parent.glob("*.svg")}
    assert figures == {"properties.svg", "rewards.svg", "diagnostics.svg", "pareto.svg", "hypervolume.svg"}
    for name in figures:
        assert f"({name})" in text
        assert ET.parse(report.parent / name).getroot().tag.endswith("svg")
    table = rows(report.parent / "table.csv")
    assert {"hits", "effective_elements", "top_element_share", "space_groups"} <= table[0].keys()
    assert [row["campaign"] for row in table] == listener.begun
    assert all(float(row["evaluations"]) == 48 + 12 + 12 for row in table)
    assert {row["arm"]: row["judged"] for row in table} == {"learned": "128", "unscreened": "128", "prior": "256"}
    assert {row["judged_size"] for row in table} == {"64"}
    assert all(float(row["validity_judged"]) > 0 for row in table)
    sun = {row["arm"]: round(float(row["sun_judged"]) * int(row["judged"])) for row in table}
    assert f"| {sun['learned']} of 128 | {sun['prior']} of 256 |" in text
    summary = rows(report.parent / "summary.csv")
    assert {row["arm"] for row in summary} == {"learned", "unscreened", "prior"}


def test_the_prior_arm_learns_nothing(inline, toy, tmp_path):
    run(request(toy, "prior"), tmp_path / "out")
    saved = RunDirectory(tmp_path / "out" / "runs" / "toy-prior-0").load()
    assert saved is not None
    weights = saved[1]["agent"]
    assert all(bool((value.abs() < 1e-20).all()) for value in weights.values() if isinstance(value, torch.Tensor))


def test_finished_campaigns_are_not_repeated_and_reports_not_overwritten(inline, toy, tmp_path):
    folder = tmp_path / "out"
    first = run(request(toy, "prior"), folder)
    before = first.read_bytes()
    listener = Silent()
    run(request(toy, "prior"), folder, resume=True, listener=listener)
    assert listener.begun == []
    assert first.read_bytes() == before

    run(request(toy, "prior", seeds=2), folder, resume=True, listener=listener)
    assert listener.begun == ["toy-prior-1"]
    assert len(rows(folder / "table.csv")) == 2
    assert (folder / "report-1" / "report.md").read_bytes() == before
    assert len(rows(folder / "report-1" / "table.csv")) == 1


def test_records_alone_are_enough_to_report_and_to_go_on(inline, toy, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**TOY, "name": "other"}), encoding="utf-8")
    folder, listener = tmp_path / "out", Silent()
    first = Request("prior", seeds=1, tasks=(toy,), settings=("iterations=3", "threads=1"))
    report = run(first, folder)
    before = report.read_bytes()
    for name in ("runs", "campaigns", "logs"):
        shutil.rmtree(folder / name)
    report.unlink()
    assert run(first, folder, resume=True, listener=listener).read_bytes() == before
    assert listener.begun == []
    # The crystals of the first campaign are gone: the second one makes its own.
    run(replace(first, tasks=(toy, str(other))), folder, resume=True, listener=listener)
    assert listener.begun == ["other-prior-0"]
    assert len(rows(folder / "table.csv")) == 2


def test_what_is_finished_can_be_reported_while_the_rest_runs(inline, toy, tmp_path):
    folder, wanted = tmp_path / "out", request(toy, "replay")
    more = replace(wanted, seeds=2)
    run(wanted, folder)
    before = (folder / "report.md").read_bytes(), (folder / "experiment.json").read_bytes()
    (folder / "finished" / "toy-prior-1.json.gz").write_bytes(b"of another machine, not looked at")
    running = runner.ExperimentFolder.open(folder, wanted)
    report = report_so_far(more, plan(more), folder)
    shutil.rmtree(folder / "logs")
    (folder / "so-far" / "of-fewer-tasks.svg").touch()
    assert report == folder / "so-far" / "report.md"
    assert "so far; not finished: toy (seed 1)" in report.read_text(encoding="utf-8")
    assert {row["seed"] for row in rows(report.parent / "table.csv")} == {"0"}
    assert ((folder / "report.md").read_bytes(), (folder / "experiment.json").read_bytes()) == before
    assert report_so_far(wanted, plan(wanted), folder) == report  # replaces the one before
    running.unlock()
    assert not (folder / "so-far" / "of-fewer-tasks.svg").exists()
    assert not (folder / "logs").exists()
    with pytest.raises(ConfigError, match=r"report that with: matinvent experiment replay .*--so-far$"):
        report_so_far(request(toy, "screening"), plan(request(toy, "screening")), folder)
    assert "not finished:" not in report.read_text(encoding="utf-8")


def test_records_that_were_copied_in_are_reported(inline, toy, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**TOY, "name": "other"}), encoding="utf-8")
    one = Request("prior", seeds=1, tasks=(toy,), settings=("iterations=2", "threads=1"))
    run(one, tmp_path / "here")
    run(replace(one, tasks=(str(other),)), tmp_path / "there")
    name = "other-prior-0.json.gz"
    shutil.copy(tmp_path / "there" / "finished" / name, tmp_path / "here" / "finished" / name)
    listener = Silent()
    run(replace(one, tasks=(toy, str(other))), tmp_path / "here", resume=True, listener=listener)
    assert listener.begun == []
    assert {row["task"] for row in rows(tmp_path / "here" / "table.csv")} == {"toy", "other"}
    assert len(rows(tmp_path / "here" / "report-1" / "table.csv")) == 1


def test_a_report_of_nothing_is_refused(inline, toy, tmp_path):
    folder, wanted = tmp_path / "out", request(toy, "replay")
    with pytest.raises(InputError, match="no experiment to report"):
        report_so_far(wanted, plan(wanted), folder)
    run(wanted, folder)
    (folder / "finished" / "toy-prior-0.json.gz").unlink()
    with pytest.raises(InputError, match="all campaigns are finished yet"):
        report_so_far(wanted, plan(wanted), folder)
    assert not (folder / "so-far").exists()


def test_campaigns_of_other_settings_are_not_mixed(inline, toy, tmp_path):
    folder, wanted = tmp_path / "out", request(toy, "prior")
    run(wanted, folder)
    file = Path(toy)
    changed = yaml.safe_load(file.read_text(encoding="utf-8"))
    changed["objectives"][0]["hi"] = 9
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")
    for again in (lambda: run(wanted, folder, resume=True), lambda: report_so_far(wanted, plan(wanted), folder)):
        with pytest.raises(ConfigError, match=r"toy-prior-0.*made with other settings"):
            again()
    with pytest.raises(ConfigError, match=r"toy-prior-0.*objectives\.0\.hi: 10\.0, now 9\.0"):
        run(replace(wanted, seeds=2), folder, resume=True)
    (folder / "finished" / "toy-prior-0.json.gz").unlink()
    with pytest.raises(ConfigError, match=r"toy-prior-0\.yaml: made with other settings"):
        run(replace(wanted, seeds=2), folder, resume=True)


def test_a_machine_with_other_cores_goes_on(inline, toy, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    wanted = Request("prior", seeds=1, tasks=(toy,), settings=("iterations=2",), parallel=2)
    report = run(wanted, folder)
    report.unlink()
    monkeypatch.setattr(executors, "available_cores", lambda: 16)
    assert plan(wanted)[0].config.threads == 8
    assert run(wanted, folder, resume=True).is_file()
    # A campaign that has not begun yet gets its share of the new machine.
    settings = folder / "campaigns" / "toy-prior-1.yaml"
    settings.write_text(plan(replace(wanted, seeds=2))[1].config.to_yaml().replace("threads: 8", "threads: 1"))
    run(replace(wanted, seeds=2), folder, resume=True)
    assert "threads: 8" in settings.read_text(encoding="utf-8")


def test_agents_judged_by_samples_of_another_size_are_not_mixed(inline, toy, tmp_path):
    folder = tmp_path / "out"
    run(request(toy, "prior"), folder)
    mark = folder / "finished" / "toy-prior-0.json.gz"
    record = json.loads(gzip.decompress(mark.read_bytes()))
    for size, told in ((128, "size 128"), (None, "unknown size")):
        record["judged"]["size"] = size
        mark.write_bytes(gzip.compress(json.dumps(record).encode()))
        with pytest.raises(ConfigError, match=rf"toy-prior-0.*judged by samples of {told}, not of 64 crystals"):
            run(request(toy, "prior", seeds=2), folder, resume=True)


@pytest.mark.parametrize("spoil", [lambda data: data[:50], lambda data: data[:60] + bytes(40) + data[100:]])
def test_a_damaged_record_is_named(inline, toy, tmp_path, spoil):
    folder = tmp_path / "out"
    run(request(toy, "prior"), folder)
    mark = folder / "finished" / "toy-prior-0.json.gz"
    mark.write_bytes(spoil(mark.read_bytes()))
    with pytest.raises(CheckpointError, match=r"toy-prior-0\.json\.gz: damaged"):
        run(request(toy, "prior", seeds=2), folder, resume=True)


def test_a_record_of_another_version_is_told_from_a_damaged_one(inline, toy, tmp_path):
    folder = tmp_path / "out"
    run(request(toy, "prior"), folder)
    mark = folder / "finished" / "toy-prior-0.json.gz"
    record = json.loads(gzip.decompress(mark.read_bytes()))
    record["record"]["settings"]["acquisition"]["clairvoyance"] = 1.0
    mark.write_bytes(gzip.compress(json.dumps(record).encode()))
    with pytest.raises(CheckpointError, match=r"another version.*unknown key 'acquisition\.clairvoyance'"):
        run(request(toy, "prior", seeds=2), folder, resume=True)


def test_equal_experiments_have_equal_figures(inline, toy, tmp_path):
    for name in ("a", "b"):
        run(request(toy, "prior"), tmp_path / name)
    for figure in ("properties.svg", "pareto.svg"):
        assert (tmp_path / "a" / figure).read_bytes() == (tmp_path / "b" / figure).read_bytes()


def test_a_campaign_killed_before_its_first_checkpoint_starts_anew(inline, toy, tmp_path):
    wanted, folder = request(toy, "prior"), tmp_path / "out"
    run(wanted, tmp_path / "whole")
    broken = folder / "runs" / "toy-prior-0"
    listener = Silent()

    class Killed(Inline):
        def __init__(self, of, planned):
            RunDirectory.create(broken, planned.config).unlock()
            (broken / "config.yaml").write_text("iterat", encoding="utf-8")
            raise Interrupted

    original, runner._Process = runner._Process, Killed
    try:
        with pytest.raises(Interrupted):
            run(wanted, folder)
    finally:
        runner._Process = original
    assert not (folder / "report.md").exists()
    run(wanted, folder, resume=True, listener=listener)
    assert fingerprint(broken) == fingerprint(tmp_path / "whole" / "runs" / "toy-prior-0")


def test_a_failed_campaign_is_named_and_does_not_stop_the_others(inline, toy, tmp_path):
    wanted, folder, listener = request(toy, "replay"), tmp_path / "out", Silent()
    settings = plan(wanted)[0].config.model_dump(mode="json", by_alias=True)
    settings["generator"]["prior"] = "nowhere.safetensors"
    (folder / "campaigns").mkdir(parents=True)
    broken = folder / "campaigns" / "toy-learned-0.yaml"
    with pytest.raises(InputError, match="never overwritten"):
        run(wanted, folder)
    broken.parent.rmdir()
    original = runner.ExperimentFolder.prepare

    def prepare(self, planned):
        original(self, planned)
        if planned.name == "toy-learned-0":
            broken.write_text(yaml.safe_dump(settings), encoding="utf-8")

    runner.ExperimentFolder.prepare = prepare
    try:
        with pytest.raises(MatInventError, match=r"1 of 3 campaigns failed \(toy-learned-0\)"):
            run(wanted, folder, listener=listener)
    finally:
        runner.ExperimentFolder.prepare = original
    assert listener.faults["toy-learned-0"]
    assert listener.faults["toy-no-replay-0"] == ""
    broken.unlink()
    assert run(wanted, folder, resume=True).is_file()


def test_folders_that_do_not_fit_are_refused(inline, toy, tmp_path):
    folder = tmp_path / "out"
    run(request(toy, "prior"), folder)
    with pytest.raises(InputError, match="never overwritten; continue it with --resume"):
        run(request(toy, "prior"), folder)
    with pytest.raises(ConfigError, match="holds another experiment; continue that with: matinvent experiment prior"):
        run(request(toy, "replay"), folder, resume=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="no experiment to resume"):
        run(request(toy, "prior"), tmp_path / "other", resume=True)


# ------------------------------------------------------------------------------------------------ in real processes


def begin(toy, folder, *more):
    """The command in a process of its own."""
    arguments = ["experiment", "prior", "--tasks", toy, "--seeds", "1", "--set", "iterations=40", "--set", "threads=1"]
    return subprocess.Popen(
        [sys.executable, "-m", "matinvent", *arguments, "-o", str(folder), *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_iteration(folder: Path, number: int) -> None:
    metrics = folder / "runs" / "toy-prior-0" / "metrics.csv"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if metrics.is_file() and metrics.read_text(encoding="utf-8").count("\n") > number:
            return
        time.sleep(0.05)
    raise AssertionError("the campaign never got there")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_experiment_that_is_stopped_goes_on_and_equals_the_uninterrupted_one(toy, tmp_path, how):
    folder = tmp_path / "out"
    process = begin(toy, folder)
    wait_for_iteration(folder, 3)
    process.send_signal(how)
    _, errors = process.communicate(timeout=90)
    if how is signal.SIGINT:
        assert process.returncode == 1
        assert "Continue with: matinvent experiment prior" in errors
        assert "Traceback" not in errors
    time.sleep(5)  # an orphan notices and leaves
    assert not (folder / "report.md").exists()
    done = begin(toy, folder, "--resume")
    output, errors = done.communicate(timeout=240)
    assert done.returncode == 0, errors
    assert "report.md" in output
    whole = begin(toy, tmp_path / "whole")
    whole.communicate(timeout=240)
    run_directory = Path("runs") / "toy-prior-0"
    assert fingerprint(folder / run_directory) == fingerprint(tmp_path / "whole" / run_directory)


def test_the_prior_is_sampled_once_for_all_tasks_with_the_result_of_a_campaign_of_its_own(inline, toy, tmp_path):
    other = tmp_path / "other.yaml"
    goals = [{"property": "number_of_elements", "kind": "maximize", "lo": 1, "hi": 5, "hit": [3, None]}]
    other.write_text(yaml.safe_dump({**TOY, "name": "other", "objectives": goals}), encoding="utf-8")
    both = Request("prior", seeds=1, tasks=(toy, str(other)), settings=("iterations=3", "threads=1"))
    assert [campaign.source for campaign in plan(both)] == ["", "toy-prior-0"]
    run(both, tmp_path / "both")
    run(Request("prior", seeds=1, tasks=(str(other),), settings=both.settings), tmp_path / "alone")
    shared, alone = (rows(tmp_path / name / "runs" / "other-prior-0" / "metrics.csv") for name in ("both", "alone"))
    learning = {"loss", "divergence", "grad_norm", "replay_size"}
    assert [{k: v for k, v in row.items() if k not in learning} for row in shared] == [
        {k: v for k, v in row.items() if k not in learning} for row in alone
    ]


def test_a_reevaluation_that_is_stopped_goes_on_as_a_campaign_and_ends_the_same(tmp_path):
    unique = ("iterations=5", "screening.uniqueness=true", "learning.learning_rate=1e-30", "replay.size=0")
    config = toy_config(*unique, "acquisition.enabled=false", "feasibility.enabled=false")
    run_toy(tmp_path / "source", *unique, "acquisition.enabled=false", "feasibility.enabled=false")
    fates = []
    for stop_after in (5, 2):
        directory = tmp_path / f"after-{stop_after}"
        campaign = Revaluation.of(tmp_path / "source", config, directory)
        for _ in range(stop_after):
            campaign.step()
        campaign.close()
        Campaign.resume(directory).run()
        candidates = Ledger(directory / "ledger.db").candidates()
        fates.append([(c.label, c.fate, c.twin, c.reward) for c in candidates])
    assert {fate for _, fate, _, _ in fates[0]} >= {Fate.SCORED, Fate.DUPLICATE}
    assert fates[0] == fates[1]


def test_crystals_that_are_not_all_at_hand_are_made_anew(inline, toy, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**TOY, "name": "other"}), encoding="utf-8")
    both = Request("prior", seeds=1, tasks=(toy, str(other)), settings=("iterations=3", "threads=1"))
    run(both, tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "finished" / "other-prior-0.json.gz").unlink()
    shutil.rmtree(tmp_path / "elsewhere" / "runs" / "other-prior-0")
    metrics = tmp_path / "elsewhere" / "runs" / "toy-prior-0" / "metrics.csv"  # of a run that got no farther there
    metrics.write_text("".join(metrics.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    for report in (tmp_path / "elsewhere").glob("report.md"):
        report.unlink()
    run(both, tmp_path / "elsewhere", resume=True)
    table = rows(tmp_path / "elsewhere" / "table.csv")
    assert [row["evaluations"] for row in table] == [row["evaluations"] for row in rows(tmp_path / "out" / "table.csv")]


def test_a_prior_that_stops_at_a_goal_makes_its_own_crystals(toy, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**TOY, "name": "other"}), encoding="utf-8")
    for setting in ("stop.hits=3", "stop.mean_reward=0.9", "stop.plateau=5"):
        both = plan(Request("prior", seeds=1, tasks=(toy, str(other)), settings=(setting,)))
        assert [campaign.source for campaign in both] == ["", ""]


def test_without_its_source_a_campaign_does_not_begin(inline, toy, tmp_path, monkeypatch):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**TOY, "name": "other"}), encoding="utf-8")
    both = Request("prior", seeds=1, tasks=(toy, str(other)), settings=("iterations=2", "threads=1"))
    monkeypatch.setattr(worker, "command_line", lambda arguments: sys.exit(2))
    listener = Silent()
    with pytest.raises(MatInventError, match="2 of 2 campaigns failed"):
        run(both, tmp_path / "out", listener=listener)
    assert listener.begun == ["toy-prior-0"]


def test_campaigns_with_stages_are_counted_and_judged_by_their_last_goal(inline, tmp_path):
    goal = {"property": "density", "kind": "target", "target": 18, "hi": 10, "hit": [17, 19]}
    loose = {
        "name": "loose",
        "iterations": 2,
        "objectives": [{"property": "hhi", "kind": "minimize", "lo": 0, "hi": 9999, "hit": [None, 10000]}],
    }
    file = tmp_path / "staged.yaml"
    staged = {**TOY, "name": "staged", "objectives": [goal], "stages": [loose, {"name": "tight", "iterations": 3}]}
    file.write_text(yaml.safe_dump(staged), encoding="utf-8")
    listener = Silent()
    wanted = Request("prior", seeds=1, tasks=(str(file),), settings=("threads=1",))
    report = run(wanted, tmp_path / "out", listener=listener)
    assert listener.shares[-1] == 1.0
    (row,) = rows(report.parent / "table.csv")
    assert float(row["density_last"]) > 0
    assert "hhi_last" not in row
    # Hits of the loose goal, which every crystal meets, are none of the campaign's.
    found = Ledger(tmp_path / "out" / "runs" / "staged-prior-0" / "ledger.db").candidates()
    assert all(c.hit for c in found if c.stage == "loose" and c.fate is Fate.SCORED)
    tight = [c for c in found if c.stage == "tight" and c.fate is Fate.SCORED]
    assert int(row["hits"]) == sum(c.hit is True for c in tight) < len(tight)


def test_a_stage_of_fewer_goals_does_not_spoil_the_figures(inline, toy, tmp_path):
    whole = yaml.safe_load(Path(toy).read_text(encoding="utf-8"))
    loose = {"name": "loose", "iterations": 2, "objectives": whole["objectives"][:1]}
    staged = {**whole, "name": "staged", "stages": [loose, {"name": "both", "iterations": 2}]}
    file = tmp_path / "staged.yaml"
    file.write_text(yaml.safe_dump(staged), encoding="utf-8")
    report = run(Request("prior", seeds=1, tasks=(str(file),), settings=("threads=1",)), tmp_path / "out")
    assert (report.parent / "pareto.svg").is_file()
