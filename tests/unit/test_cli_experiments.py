"""``matinvent experiment``: arguments in, exit status and words out. The campaigns are a stand-in."""

from __future__ import annotations

import pytest

from matinvent.cli import main
from matinvent.experiments import conduct as conducting
from matinvent.experiments.catalogue import Request
from matinvent.interrupt import Interrupted


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What would have been run."""
    calls = []

    def conduct(request, plan, path, listener, *, resume):
        calls.append((request, path, resume))
        listener.started(plan[0])
        listener.progress(1, 4)
        listener.ended(plan[0], 75.0, "")
        return path / "report.md"

    monkeypatch.setattr(conducting, "conduct", conduct)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return calls


def invoke(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["experiment", *map(str, arguments)])
    return left.value.code or 0


@pytest.mark.parametrize("arguments", [(), ("list",), ("list", "--scale", "paper")])
def test_what_there_is_and_its_cost(asked, capsys, arguments):
    assert invoke(*arguments) == 0
    text = capsys.readouterr().out
    for name in ("screening", "replay", "diversity", "divergence", "single", "magnet", "high_k", "prior", "Fig. 1b"):
        assert name in text
    assert "min" in text or "days" in text
    assert asked == []


def test_options_reach_the_experiment(asked, tmp_path, capsys):
    options = ("--seeds", 2, "--tasks", "density, hhi", "--set", "learning.sigma=0.5", "--parallel", 2, "-o", "here")
    assert invoke("replay", *options) == 0
    request, path, resume = asked[0]
    assert request == Request("replay", "quick", 2, ("density", "hhi"), ("learning.sigma=0.5",), 2)
    assert (path.name, resume) == ("here", False)
    text = capsys.readouterr().out
    assert "12 campaigns, at most 3,012 property evaluations, about" in text  # 2 tasks, 3 arms, 2 seeds
    assert "[1/12] density-learned-0: finished after 75 s" in text
    assert "Report: here/report.md" in text


def test_folders_are_numbered(asked, tmp_path):
    assert invoke("magnet") == 0
    assert asked[0][1].as_posix() == "runs/experiment-magnet-1"


def test_a_dry_run_lists_the_campaigns(asked, tmp_path, capsys):
    assert invoke("replay", "--seeds", 1, "--dry-run") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("density-learned-0", "density-no-replay-0", "density-prior-0"))
    assert asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["repaly"], "did you mean 'replay'?"),
        (["replay", "--resume"], "--resume needs --output"),
        (["replay", "--so-far"], "--so-far needs --output"),
        (["replay", "--so-far", "--resume", "-o", "here"], "choose one"),
        (["replay", "--so-far", "-o", "here"], "no experiment to report"),
        (["replay", "--scale", "tiny"], "use quick or paper"),
        (["replay", "--tasks", "densty"], "did you mean 'density'?"),
        (["replay", "--set", "learning.sigm=1"], "unknown key"),
    ],
)
def test_faults_are_one_message_and_status_2(asked, tmp_path, capsys, arguments, said):
    assert invoke(*arguments) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_finished_is_reported(asked, monkeypatch, capsys):
    monkeypatch.setattr(conducting, "report_so_far", lambda request, plan, path: path / "so-far" / "report.md")
    assert invoke("replay", "--so-far", "-o", "here") == 0
    assert "Report: here/so-far/report.md" in capsys.readouterr().out
    assert asked == []


def test_an_interruption_says_how_to_go_on(asked, monkeypatch, capsys):
    def interrupted(*_arguments, **_options):
        raise Interrupted

    monkeypatch.setattr(conducting, "conduct", interrupted)
    assert invoke("replay", "--seeds", 2, "-o", "my folder") == 1
    expected = "matinvent experiment replay --scale quick --seeds 2 --output 'my folder' --resume"
    assert f"Continue with: {expected}" in capsys.readouterr().err


def test_help_shows_examples(capsys):
    assert invoke("--help") == 0
    assert "$ matinvent experiment replay --seeds 5" in capsys.readouterr().out
