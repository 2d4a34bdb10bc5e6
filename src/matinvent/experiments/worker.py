"""One campaign of an experiment in a process of its own.

``python -m matinvent.experiments.worker FOLDER NAME SIZE SAMPLES [SOURCE]``

It is run by `matinvent run` and `matinvent resume`, so that its run directory is an ordinary one. The exit status is
theirs: 0 finished, 1 stopped by a signal, 2 an error that a user can fix.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import typer

from matinvent.cli import main as command_line
from matinvent.cli.app import USER_ERROR
from matinvent.cli.campaigns import conduct_campaign
from matinvent.errors import CheckpointError, MatInventError
from matinvent.experiments.catalogue import Judging
from matinvent.experiments.folder import ExperimentFolder, Finished
from matinvent.experiments.machine import surroundings
from matinvent.experiments.records import read_record
from matinvent.run_directory import RunDirectory

#: Seconds between looks at whether the runner still lives.
_LOOK = 1.0


def main(folder: Path, name: str, judging: Judging, source: str = "") -> None:
    """Start the campaign or go on with it, judge its final agent, and mark it as finished.

    Args:
        folder: of the experiment.
        name: of the campaign; its settings are in the folder.
        judging: how its final agent is judged.
        source: the campaign whose crystals it evaluates, if its run directory is at hand; else it makes its own.
    """
    _follow_parent()
    experiment = ExperimentFolder(folder)
    directory = experiment.run_directory(name)
    settings = experiment.settings_file(name)
    if _is_begun(directory):  # also one that evaluated the crystals of another: it makes the same ones
        status = _status(lambda: command_line(["resume", str(directory)]))
    elif source and _has_all(experiment, source):
        status = _status(lambda: _revaluate(experiment.run_directory(source), settings, directory))
    else:
        status = _status(lambda: command_line(["run", str(settings), "--output", str(directory)]))
    if status:
        sys.exit(status)
    if source:  # the same agent
        found = experiment.finished(source).judged
    else:
        from matinvent.experiments.judge import judge_agent

        found = judge_agent(directory, judging)
    experiment.finish(name, Finished(read_record(directory), found, surroundings()))


def _has_all(experiment: ExperimentFolder, source: str) -> bool:
    """Whether a campaign's crystals are at hand; its record may have come from another machine without them."""
    whole = experiment.iterations(source) >= len(experiment.finished(source).record.metrics)
    return whole and RunDirectory(experiment.run_directory(source)).ledger_file.is_file()


def _revaluate(source: Path, settings: Path, directory: Path) -> None:
    """Evaluate the crystals of another campaign for this one's goal."""
    from matinvent.experiments.revaluation import Revaluation
    from matinvent.tasks import load_task

    config = load_task(str(settings))
    conduct_campaign(lambda callbacks: Revaluation.of(source, config, directory, callbacks))


def _status(command: Callable[[], None]) -> int:
    """Exit status of a command of ours."""
    try:
        command()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except typer.Exit as left:
        return left.exit_code
    except MatInventError as error:
        sys.stderr.write(f"error: {error}\n")
        return USER_ERROR
    return 0


def _is_begun(directory: Path) -> bool:
    """Whether a campaign can be resumed; what was killed before its first checkpoint is removed, to start anew."""
    if not directory.exists():
        return False
    run = RunDirectory(directory)
    if run.begun:
        return True
    try:
        run.lock()
    except CheckpointError as error:  # a worker of a runner that was killed is about to leave
        sys.exit(f"error: {error}")
    run.unlock()
    shutil.rmtree(directory)
    return False


def _follow_parent() -> None:
    """End politely when the process that started this one is gone, so that no campaign goes on unseen."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Judging(*map(int, sys.argv[3:5])), *sys.argv[5:])
