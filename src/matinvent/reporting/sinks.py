"""Metrics on disk: CSV files for every tool there is, TensorBoard events for a live look.

``metrics.csv`` holds only what the seed determines, so that two runs can be compared byte by byte;
wall times go to ``timings.csv``.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from matinvent.errors import CheckpointError
from matinvent.reporting.events import Callback, CampaignSummary, IterationReport

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

    from matinvent.config import CampaignConfig

_KEY = "iteration"


class CsvTable:
    """A CSV file with one row per iteration, replaced as a whole at every row.

    A reader, or a process killed at any moment, sees the file before the row or after it, never a
    part of it. Columns keep the order of their first appearance.
    """

    def __init__(self, path: Path, keep_below: int) -> None:
        """Take over the rows of an existing file whose iteration is smaller than ``keep_below``.

        Raises:
            CheckpointError: the file exists and is not a table of iterations.
        """
        self.path = path
        self._rows = [row for row in _read_rows(path) if int(row[_KEY]) < keep_below]

    def append(self, iteration: int, values: Mapping[str, float | None]) -> None:
        """Add a row; floats are written exactly (shortest form that reads back equal), None as empty."""
        self._rows.append({_KEY: str(iteration)} | {name: _cell(value) for name, value in values.items()})
        self._write()

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        temporary = self.path.with_name(self.path.name + ".part")
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


class CsvSink(Callback):
    """Writes ``metrics.csv`` (iteration, funnel, metrics) and ``timings.csv`` (seconds per stage)."""

    def __init__(self) -> None:
        self._metrics: CsvTable | None = None
        self._timings: CsvTable | None = None

    def on_start(self, config: CampaignConfig, directory: Path, first_iteration: int) -> None:
        """Open the tables; rows from ``first_iteration`` on belong to iterations that will be repeated."""
        del config
        self._metrics = CsvTable(directory / "metrics.csv", first_iteration)
        self._timings = CsvTable(directory / "timings.csv", first_iteration)

    def on_iteration(self, report: IterationReport) -> None:
        """Add one row to each table."""
        if self._metrics is None or self._timings is None:
            raise RuntimeError("CsvSink.on_start must be called before on_iteration")
        self._metrics.append(report.iteration, {**report.funnel, **report.metrics})
        self._timings.append(report.iteration, report.seconds)


class TensorBoardSink(Callback):
    """Writes scalars to ``tensorboard/``: ``funnel/*``, ``metrics/*`` and ``seconds/*``.

    Silent when the campaign's ``logging.tensorboard`` is off.
    """

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None

    def on_start(self, config: CampaignConfig, directory: Path, first_iteration: int) -> None:
        """Open an event file; TensorBoard hides earlier sessions' points from ``first_iteration`` on."""
        if not config.logging.tensorboard:
            return
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=first_iteration)

    def on_iteration(self, report: IterationReport) -> None:
        """Write one point per curve."""
        if self._writer is None:
            return
        for group, values in (("funnel", report.funnel), ("metrics", report.metrics), ("seconds", report.seconds)):
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(f"{group}/{name}", value, report.iteration)
        self._writer.flush()

    def on_end(self, summary: CampaignSummary) -> None:
        """Close the event file."""
        del summary
        if self._writer is not None:
            self._writer.close()


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        fault = "" if all(map(_is_whole, rows)) else f"no column '{_KEY}' of whole numbers, or an incomplete row"
    except (UnicodeDecodeError, csv.Error) as error:
        fault = str(error)
    if fault:
        raise CheckpointError(
            f"{path}: not a table of iterations ({fault}); move it away to continue without the rows so far"
        )
    return rows


def _is_whole(row: dict[str, str]) -> bool:
    """Whether a row has an iteration number, and a cell for each column (csv marks others with None)."""
    return row.get(_KEY, "").isdecimal() and None not in row and None not in row.values()


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)
