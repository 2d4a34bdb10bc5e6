"""Metric files: exact, comparable byte by byte, and whole after any death and resume."""

from __future__ import annotations

import csv
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinvent.candidate import FUNNEL
from matinvent.errors import CheckpointError
from matinvent.reporting.events import CampaignSummary, IterationReport
from matinvent.reporting.sinks import CsvSink, CsvTable, TensorBoardSink
from matinvent.tasks import load_task


def report(iteration: int, **metrics: float | None) -> IterationReport:
    return IterationReport(
        iteration=iteration,
        total=9,
        funnel=dict.fromkeys(FUNNEL, 5),
        metrics={"reward_mean": 0.1 + 0.2, "reward_max": None, **metrics},
        seconds={"sample": 1.5, "screen": 2.0},
    )


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run_sink(directory, iterations, first=0):
    sink = CsvSink()
    sink.on_start(load_task("density"), directory, first)
    for iteration in iterations:
        sink.on_iteration(report(iteration))


def test_columns_are_iteration_funnel_metrics(tmp_path):
    run_sink(tmp_path, range(2))
    header, first, _ = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert header == ",".join(["iteration", *FUNNEL, "reward_mean", "reward_max"])
    assert first == "0,5,5,5,5,5,5,5,0.30000000000000004,"
    assert (tmp_path / "timings.csv").read_text(encoding="utf-8").splitlines()[0] == "iteration,sample,screen"


def test_resuming_repeats_rows_instead_of_doubling_them(tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    resumed.mkdir()
    run_sink(whole, range(6))
    run_sink(resumed, range(4))
    run_sink(resumed, range(2, 6), first=2)
    for name in ("metrics.csv", "timings.csv"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_resuming_without_iterations_left_changes_nothing(tmp_path):
    run_sink(tmp_path, range(3))
    before = (tmp_path / "metrics.csv").read_bytes()
    run_sink(tmp_path, [], first=3)
    assert (tmp_path / "metrics.csv").read_bytes() == before


def test_a_new_metric_extends_the_header_and_leaves_old_rows_empty(tmp_path):
    run_sink(tmp_path, range(1))
    sink = CsvSink()
    sink.on_start(load_task("density"), tmp_path, 1)
    sink.on_iteration(report(1, loss=2.0))
    assert [row["loss"] for row in rows(tmp_path / "metrics.csv")] == ["", "2.0"]


def test_death_while_writing_leaves_the_former_table(tmp_path, monkeypatch):
    run_sink(tmp_path, range(2))
    before = (tmp_path / "metrics.csv").read_bytes()

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        run_sink(tmp_path, [2], first=2)
    assert (tmp_path / "metrics.csv").read_bytes() == before


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "iteration,x\nzero,1\n", "iteration,x\n0\n", "iteration,x\n0,1,2\n"])
def test_a_damaged_table_is_named_and_never_overwritten(tmp_path, text):
    path = tmp_path / "metrics.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"metrics\.csv: not a table of iterations .*move it away"):
        CsvTable(path, 5)
    assert path.read_text(encoding="utf-8") == text


@given(value=st.floats(allow_nan=False))
def test_floats_read_back_exactly(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    CsvTable(path, 0).append(0, {"x": value})
    assert float(rows(path)[0]["x"]) == value


def test_numpy_floats_are_written_like_floats(tmp_path):
    np = pytest.importorskip("numpy")
    CsvTable(tmp_path / "t.csv", 0).append(0, {"x": np.float64(0.1)})
    assert rows(tmp_path / "t.csv")[0]["x"] == "0.1"


def test_tensorboard_gets_every_number_that_exists_and_hides_repeated_steps(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, iterations in ((0, range(4)), (2, range(2, 5))):
        sink = TensorBoardSink()
        sink.on_start(load_task("density"), tmp_path, first)
        for iteration in iterations:
            sink.on_iteration(report(iteration, loss=float(10 * first + iteration)))
        sink.on_end(CampaignSummary(tmp_path, 5, 10, "finished"))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    points = [(e.step, e.value) for e in events.Scalars("metrics/loss")]
    assert points == [(0, 0.0), (1, 1.0), (2, 22.0), (3, 23.0), (4, 24.0)]
    assert "funnel/novel" in events.Tags()["scalars"]
    assert "metrics/reward_max" not in events.Tags()["scalars"]


def test_tensorboard_can_be_turned_off(tmp_path):
    sink = TensorBoardSink()
    sink.on_start(load_task("density", overrides=["logging.tensorboard=false"]), tmp_path, 0)
    sink.on_iteration(report(0))
    sink.on_end(CampaignSummary(tmp_path, 1, 1, "finished"))
    assert list(tmp_path.iterdir()) == []
