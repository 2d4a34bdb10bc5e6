"""Runs the campaigns of an experiment, each in a process of its own, and stops all of them politely."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matinvent.errors import MatInventError
from matinvent.experiments.catalogue import Planned
from matinvent.experiments.folder import ExperimentFolder
from matinvent.interrupt import Interrupted, catch_signals

#: Seconds between looks at the processes, and patience with one that was asked to stop.
_LOOK, _PATIENCE = 0.2, 60.0


class Listener(Protocol):
    """Who is told how an experiment goes on."""

    def started(self, planned: Planned) -> None:
        """A campaign begins or goes on."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Iterations finished of all campaigns together."""
        ...

    def ended(self, planned: Planned, seconds: float, fault: str) -> None:
        """A campaign is finished, after so many seconds of this session; ``fault`` says why it is not."""
        ...


def run_campaigns(folder: ExperimentFolder, plan: Sequence[Planned], parallel: int, listener: Listener) -> None:
    """Run what is not finished yet, in order, ``parallel`` campaigns at a time.

    A campaign that fails does not stop the others.

    Raises:
        Interrupted: SIGINT or SIGTERM came; what was running is stopped and can be resumed.
        MatInventError: campaigns failed; the message names the first fault and the logs.
    """
    waiting = folder.unfinished(plan)
    running: list[_Process] = []
    failed: list[tuple[Planned, str]] = []
    with catch_signals() as signalled:
        try:
            while waiting or running:
                if signalled():
                    raise Interrupted
                while len(running) < parallel and (ready := _next(folder, waiting)):
                    waiting.remove(ready)
                    listener.started(ready)
                    running.append(_Process(folder, ready))
                if waiting and not running:
                    failed += [(planned, f"{planned.source} failed") for planned in waiting]
                    break
                running, ended = _sorted_out(running)
                for process in ended:
                    fault = process.fault()
                    listener.ended(process.planned, time.monotonic() - process.start, fault)
                    if fault:
                        failed.append((process.planned, fault))
                listener.progress(*_iterations(folder, plan))
                time.sleep(_LOOK)
        finally:
            _stop(running)
    if failed:
        names = ", ".join(planned.name for planned, _ in failed)
        log = folder.log_file(failed[0][0].name)
        raise MatInventError(f"{len(failed)} of {len(plan)} campaigns failed ({names}): {failed[0][1]}; see {log}")


def _next(folder: ExperimentFolder, waiting: Sequence[Planned]) -> Planned | None:
    """The first campaign that can begin: not one that needs the crystals of an unfinished one."""
    return next((p for p in waiting if not p.source or folder.is_finished(p.source)), None)


class _Process:
    """A campaign at work."""

    def __init__(self, folder: ExperimentFolder, planned: Planned) -> None:
        self.planned = planned
        self.start = time.monotonic()
        self._folder = folder
        self._log = folder.log_file(planned.name)
        command = [sys.executable, "-m", "matinvent.experiments.worker", str(folder.path), planned.name]
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C at the terminal reaches the runner only, which then asks once.
            self.popen = subprocess.Popen(  # noqa: S603 (our own module)
                [*command, str(planned.judging.size), str(planned.judging.samples), planned.source],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def fault(self) -> str:
        """Why an ended campaign is not finished; empty if it is."""
        if self.popen.returncode == 0 and self._folder.is_finished(self.planned.name):
            return ""
        return _last_line(self._log).removeprefix("error: ") or f"ended with status {self.popen.returncode}"


def _sorted_out(processes: Sequence[_Process]) -> tuple[list[_Process], list[_Process]]:
    """Those that are at work, and those that ended."""
    states = [(process, process.popen.poll()) for process in processes]
    return [process for process, code in states if code is None], [p for p, code in states if code is not None]


def _stop(processes: Sequence[_Process]) -> None:
    """Ask all to stop, then insist."""
    for process in processes:
        process.popen.terminate()
    deadline = time.monotonic() + _PATIENCE
    for process in processes:
        try:
            process.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()


def _iterations(folder: ExperimentFolder, plan: Sequence[Planned]) -> tuple[int, int]:
    """Iterations done and wanted; a finished campaign may have stopped before its last one."""
    shares = [
        p.config.total_iterations
        if folder.is_finished(p.name)
        else min(folder.iterations(p.name), p.config.total_iterations)
        for p in plan
    ]
    return sum(shares), sum(p.config.total_iterations for p in plan)


def _last_line(log: Path) -> str:
    """The last words of a campaign."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
