"""``matinvent run`` and ``resume``: settings in, exit status and files out. The campaign itself is a stand-in."""

from __future__ import annotations

import errno
import sqlite3
import sys
from types import SimpleNamespace

import pytest
import yaml

from matinvent.candidate import FUNNEL
from matinvent.cli import main
from matinvent.errors import EvaluationError
from matinvent.reporting.events import CampaignSummary, IterationReport
from matinvent.run_directory import RunDirectory
from matinvent.tasks import load_task


class StandIn:
    """A campaign that reports one iteration and ends."""

    stopped = "finished"
    fault: Exception | None = None

    def __init__(self, config, directory, callbacks, first):
        self.config, self.directory, self.callbacks, self.first = config, directory, callbacks, first

    @classmethod
    def start(cls, config, directory, callbacks=()):
        RunDirectory.create(directory, config)
        return cls(config, directory, callbacks, 0)

    @classmethod
    def resume(cls, directory, callbacks=()):
        _, config = RunDirectory.open(directory)
        return cls(config, directory, callbacks, 1)

    def run(self):
        for callback in self.callbacks:
            callback.on_start(self.config, self.directory, self.first)
        if self.fault is not None:
            raise self.fault
        report = IterationReport(self.first, 2, dict.fromkeys(FUNNEL, 4), {"reward_mean": 0.5}, {"sample": 1.0})
        summary = CampaignSummary(self.directory, self.first + 1, 4, self.stopped)
        for callback in self.callbacks:
            callback.on_iteration(report)
            callback.on_end(summary)
        return summary

    def close(self):
        pass


@pytest.fixture
def campaign(monkeypatch, tmp_path):
    """Put the stand-in in the campaign's place and work in an empty folder."""
    stand_in = type("Campaign", (StandIn,), {})
    monkeypatch.setitem(sys.modules, "matinvent.campaign", SimpleNamespace(Campaign=stand_in))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("MATINVENT_DEBUG", raising=False)
    return stand_in


def invoke(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code or 0


def run(*arguments: object) -> int:
    return invoke("run", "density", "--set", "logging.tensorboard=false", *arguments)


def complaint(capsys) -> str:
    """The one message on stderr."""
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_a_campaign_leaves_its_files(campaign, tmp_path, capsys):
    assert run() == 0
    directory = tmp_path / "runs" / "density-1"
    assert {path.name for path in directory.iterdir()} >= {"config.yaml", "metrics.csv", "timings.csv", "best.csv"}
    assert "4 evaluations" in capsys.readouterr().out


def test_runs_are_numbered(campaign, tmp_path):
    (tmp_path / "runs" / "density-9").mkdir(parents=True)
    (tmp_path / "runs" / "density-mine").mkdir()
    assert run() == 0
    assert run() == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {
        "density-9", "density-10", "density-11", "density-mine",
    }  # fmt: skip


def test_options_reach_the_configuration(campaign, tmp_path):
    assert run("--preset", "quick", "--seed", 7, "--set", "learning.sigma=0.5", "--output", "here") == 0
    saved = yaml.safe_load((tmp_path / "here" / "config.yaml").read_text(encoding="utf-8"))
    assert (saved["seed"], saved["learning"]["sigma"]) == (7, 0.5)
    assert saved["iterations"] == load_task("density", "quick").iterations


def test_a_dry_run_prints_settings_that_load_back_and_writes_nothing(campaign, tmp_path, capsys):
    assert invoke("run", "hhi", "--dry-run", "--seed", 3) == 0
    text = capsys.readouterr().out
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_task(str(file)) == load_task("hhi", overrides=["seed=3"])
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_prints_stages_as_they_were_written(campaign, tmp_path, capsys):
    stages = "stages=[{name: easy, iterations: 2, stop: {plateau: 1}}, {name: hard, iterations: 3}]"
    start = "start={crystals: mine/, agent: runs/density-1}"
    changes = ["--set", stages, "--set", start, "--set", "stages.0.iterations=5"]
    assert invoke("run", "density", "--preset", "quick", "--dry-run", *changes) == 0
    file = tmp_path / "mine.yaml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    config = load_task(str(file), overrides=["evaluation.per_iteration=7"])
    assert [stage.iterations for stage in config.by_stage()] == [5, 3]
    assert [stage.evaluation.per_iteration for stage in config.by_stage()] == [7, 7], "stages follow the top level"
    assert (config.by_stage()[0].stop.plateau, config.start.crystals) == (1, ("mine/",))
    assert invoke("run", "density", "--set", "stages=[{name: a, itertions: 2}]") == 2
    assert "unknown key 'stages.0.itertions' (did you mean 'iterations'?)" in complaint(capsys)


@pytest.mark.parametrize(("file", "resumable"), [("thesis.tex", False), ("config.yaml", True)])
def test_an_existing_directory_is_refused_untouched(campaign, tmp_path, capsys, file, resumable):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / file).write_text("precious", encoding="utf-8")
    assert run("--output", "mine") == 2
    message = complaint(capsys)
    assert "mine: exists already and is never overwritten" in message
    assert ("matinvent resume mine" in message) is resumable
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [file]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["densty"], "did you mean 'density'?"),
        (["missing.yaml"], "missing.yaml: no such file"),
        (["density", "--preset", "quik"], "did you mean 'quick'?"),
        (["density", "--set", "learning.sigm=1"], "unknown key 'learning.sigm' (did you mean 'sigma'?)"),
        (["density", "--set", "iterations=many"], "'iterations'"),
        (["density", "--set", "objectives.0.hi=-1"], "must be greater than lo"),
        (["density", "--set", "sigma"], "expected KEY=VALUE"),
        (["density", "--seed", "-1"], "'seed'"),
    ],
)
def test_bad_settings_are_one_message_and_status_2(campaign, tmp_path, capsys, arguments, said):
    assert invoke("run", *arguments) == 2
    assert said in complaint(capsys)
    assert not (tmp_path / "runs").exists()


def test_an_interrupted_campaign_says_how_to_resume(campaign, capsys):
    campaign.stopped = "interrupted"
    assert run("--output", "here") == 1
    assert "matinvent resume here" in capsys.readouterr().out
    campaign.stopped = "finished"
    assert invoke("resume", "here") == 0
    assert "resuming at iteration 2" in capsys.readouterr().out


def test_resuming_what_is_no_campaign(campaign, tmp_path, capsys):
    assert invoke("resume", "nowhere") == 2
    assert "nowhere: not a run directory" in complaint(capsys)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (EvaluationError("no evaluator [x] works"), "no evaluator [x] works"),
        (OSError(errno.ENOSPC, "No space left on device", "metrics.csv"), "metrics.csv: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), "runs: Permission denied"),
        (sqlite3.OperationalError("database or disk is full"), "database: database or disk is full"),
    ],
)
def test_faults_that_a_user_can_fix_end_without_traceback(campaign, capsys, fault, said):
    campaign.fault = fault
    assert run() == 2
    assert complaint(capsys) == f"error: {said}\n"


def test_a_fault_of_ours_keeps_its_traceback(campaign):
    campaign.fault = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        main(["run", "density", "--set", "logging.tensorboard=false"])


def test_debugging_shows_the_traceback(campaign, monkeypatch):
    monkeypatch.setenv("MATINVENT_DEBUG", "1")
    campaign.fault = EvaluationError("no")
    with pytest.raises(EvaluationError):
        main(["run", "density", "--set", "logging.tensorboard=false"])


def test_ctrl_c_leaves_with_the_shells_status(campaign):
    campaign.fault = KeyboardInterrupt()
    assert run() == 130


def test_a_wrong_command_line_has_status_2(campaign):
    assert invoke("run") == 2
    assert invoke("run", "density", "--nonsense") == 2
    assert invoke("fly") == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("objectives.0.property=densty", "did you mean 'density'"),
        ("objectives.0.target=18000", "no possible value scores above 0"),
        ("constraints.forbidden=[Xx]", "'Xx' is neither an element"),
        ("start.agent=nowhere", "nowhere: not a run directory"),
        ("generator.prior=nope", "neither a shipped prior"),
    ],
)
def test_a_dry_run_refuses_what_a_start_would_refuse(tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.chdir(tmp_path)
    toy = ["--set", "generator.prior=matinvent.testing.toy:make_generator", "--set", "screening.enabled=false"]
    free = ["--set", "objectives.0.hit=[1, 1e9]"]
    assert invoke("run", "density", *toy, *free, "--set", change, "--dry-run") == 2
    assert said in complaint(capsys)
    assert not list(tmp_path.iterdir())
