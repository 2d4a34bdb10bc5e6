"""The console: one line per iteration in a log, a bar on a terminal, and a terminal left in order."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from matinvent.candidate import FUNNEL
from matinvent.reporting.console import ConsoleCallback
from matinvent.reporting.events import CampaignSummary, IterationReport
from matinvent.tasks import load_task

CONFIG = load_task("density", overrides=["iterations=3", "goal='[18] g/cm^3'"])


def play(terminal: bool, notes: tuple[str, ...] = (), reward: float | None = 0.25) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=60, legacy_windows=False)
    with ConsoleCallback(console) as listener:
        listener.on_start(CONFIG, Path("runs/[x]"), 0)
        for iteration in range(2):
            for stage in ("sample", "screen", "evaluate", "learn", "remember"):
                listener.on_stage(iteration, stage, 0.5)
            listener.on_iteration(
                IterationReport(
                    iteration,
                    3,
                    dict(zip(FUNNEL, (64, 60, 55, 40, 39, 38, 16), strict=True)),
                    {"reward_mean": reward, "reward_max": reward, "density_mean": 17.123456},
                    {"sample": 2.0, "screen": 30.4},
                    notes=notes,
                )
            )
        listener.on_end(CampaignSummary(Path("runs/[x]"), 2, 32, "interrupted"))
    return text.getvalue()


def test_a_log_has_one_line_per_iteration_whatever_its_width():
    lines = play(terminal=False).splitlines()
    numbers = [line.split() for line in lines if line.strip().startswith(("1/3", "2/3"))]
    assert numbers == [
        [f"{i}/3", "64", "60", "55", "40", "39", "38", "16", "0.25", "0.25", "17.1", "32s"] for i in (1, 2)
    ]


def test_a_log_has_no_control_characters():
    text = play(terminal=False)
    assert "\x1b" not in text
    assert "\r" not in text


def test_columns_line_up_with_their_titles():
    lines = play(terminal=False).splitlines()
    head = next(i for i, line in enumerate(lines) if line.split()[:1] == ["iter"])
    assert all(station in lines[head] for station in FUNNEL)
    assert "density" in lines[head]
    assert len(lines[head]) <= 80
    assert len(lines[head]) == len(lines[head + 1]) == len(lines[head + 2])


def test_users_text_is_no_markup():
    text = play(terminal=False, notes=("structure [red]x[/red] failed",))
    assert "[18] g/cm^3" in text
    assert "runs/[x]" in text
    assert "note: structure [red]x[/red] failed" in text


def test_missing_numbers_are_dashes_not_zeros():
    row = next(line for line in play(terminal=False, reward=None).splitlines() if line.strip().startswith("1/3"))
    assert row.split()[8:10] == ["-", "-"]


def test_a_terminal_gets_a_bar_and_its_cursor_back():
    text = play(terminal=True, notes=("no crystal survived the screening",))
    assert "screening" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "\x1b[33m" in text  # notes are yellow


def test_the_terminal_is_restored_after_a_crash():
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, legacy_windows=False)
    listener = ConsoleCallback(console)

    def crash() -> None:
        with listener:
            listener.on_start(CONFIG, Path("run"), 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert text.getvalue().rindex("\x1b[?25h") > text.getvalue().rindex("\x1b[?25l")


def test_a_resumed_campaign_says_so():
    text = io.StringIO()
    with ConsoleCallback(Console(file=text, width=200)) as listener:
        listener.on_start(CONFIG, Path("run"), 2)
    assert "resuming at iteration 3" in text.getvalue()


def test_a_campaign_of_stages_has_the_columns_of_all_and_says_when_one_begins():
    stage = "{name: hard, iterations: 4, objectives: [{property: price, kind: minimize, lo: 0, hi: 9}]}"
    config = load_task("density", overrides=[f"stages=[{{name: dense, iterations: 3}}, {stage}]"])
    text = io.StringIO()
    with ConsoleCallback(Console(file=text, width=200)) as listener:
        listener.on_start(config, Path("run"), 0)
        listener.on_news("stage 1 of 2, [dense]")
        metrics = {"reward_mean": 0.5, "reward_max": 0.5, "density_mean": 17.0, "price_mean": None}
        listener.on_iteration(IterationReport(0, 7, dict.fromkeys(FUNNEL, 4), metrics, {"sample": 2.0}))
    start, head, news, row = [line for line in text.getvalue().splitlines() if line][1:]
    assert "7 iterations" in start
    assert head.split()[-3:] == ["density", "price", "time"]
    assert news == "stage 1 of 2, [dense]"
    assert row.split()[-3:] == ["17", "-", "2s"]
