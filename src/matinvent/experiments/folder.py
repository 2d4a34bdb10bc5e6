"""An experiment on disk: what was asked for, and which of its campaigns are finished.

experiment.json          the request, the command and the machine
campaigns/NAME.yaml      complete settings of a campaign
runs/NAME/               its run directory, as of `matinvent run`
logs/NAME.log            what it printed
finished/NAME.json       there once nothing of it is left to do; what was measured of its final agent
report.md, table.csv, summary.csv, *.svg
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from matinvent.errors import CheckpointError, ConfigError, InputError
from matinvent.experiments.catalogue import Planned, Request

_REQUEST = "experiment.json"


class ExperimentFolder:
    """Paths and records of one experiment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, path: Path, request: Request, about: Mapping[str, Any]) -> ExperimentFolder:
        """Make a new folder.

        Args:
            path: does not exist, or is an empty folder.
            request: what is to be done.
            about: further JSON values to be kept: command, machine, version.

        Raises:
            InputError: something is there already.
        """
        folder = cls(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            resumable = "continue it with --resume or " if (path / _REQUEST).is_file() else ""
            raise InputError(f"{path}: exists already and is never overwritten; {resumable}choose another --output")
        path.mkdir(parents=True, exist_ok=True)
        folder.lock()
        folder._write_request(request, about)
        return folder

    @classmethod
    def open(cls, path: Path, request: Request) -> ExperimentFolder:
        """Go on with an experiment; seeds and tasks may have been added.

        Raises:
            InputError: no experiment is there, or another process works on it.
            ConfigError: it is another experiment than the one asked for.
        """
        folder = cls(path)
        if not (path / _REQUEST).is_file():
            raise InputError(f"{path}: no experiment to resume in it; leave --resume out to start one")
        folder.lock()
        saved = folder.about()
        earlier = Request.from_json(saved.pop("request"))
        if not request.extends(earlier):
            folder.unlock()
            raise ConfigError(f"{path}: holds another experiment; continue that with: {command_line(earlier, path)}")
        if request != earlier:
            folder._write_request(request, saved)
        return folder

    def about(self) -> dict[str, Any]:
        """What was kept on the experiment: request, command, machine, version.

        Raises:
            InputError: the file is damaged.
        """
        try:
            return dict(json.loads((self.path / _REQUEST).read_text(encoding="utf-8")))
        except ValueError as error:
            raise InputError(f"{self.path / _REQUEST}: damaged ({error})") from None

    def lock(self) -> None:
        """Keep other processes out until :meth:`unlock`, or until this process dies."""
        self._lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.unlock()
            raise InputError(f"{self.path}: another process works on this experiment; stop it first") from None

    def unlock(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def prepare(self, planned: Planned) -> None:
        """Write a campaign's settings, unless they are there."""
        for name in ("campaigns", "runs", "logs", "finished"):
            (self.path / name).mkdir(exist_ok=True)
        if not self.settings_file(planned.name).is_file():
            _write(self.settings_file(planned.name), planned.config.to_yaml())

    def settings_file(self, name: str) -> Path:
        """Settings of a campaign."""
        return self.path / "campaigns" / f"{name}.yaml"

    def run_directory(self, name: str) -> Path:
        """Run directory of a campaign."""
        return self.path / "runs" / name

    def log_file(self, name: str) -> Path:
        """What a campaign printed."""
        return self.path / "logs" / f"{name}.log"

    def is_finished(self, name: str) -> bool:
        """Whether nothing is left to do for a campaign."""
        return self._mark(name).is_file()

    def finish(self, name: str, judged: Mapping[str, float]) -> None:
        """Note that a campaign is done, and what was measured of its final agent."""
        _write(self._mark(name), json.dumps(dict(judged)))

    def judged(self, name: str) -> dict[str, float]:
        """What :meth:`finish` was told.

        Raises:
            CheckpointError: the file is damaged.
        """
        try:
            return dict(json.loads(self._mark(name).read_text(encoding="utf-8")))
        except ValueError as error:
            raise CheckpointError(f"{self._mark(name)}: damaged ({error}); delete it and resume") from None

    def iterations(self, name: str) -> int:
        """Iterations that a campaign has finished so far."""
        try:
            with (self.run_directory(name) / "metrics.csv").open("rb") as lines:
                return max(0, sum(1 for _ in lines) - 1)
        except FileNotFoundError:
            return 0

    def _mark(self, name: str) -> Path:
        return self.path / "finished" / f"{name}.json"

    def _write_request(self, request: Request, about: Mapping[str, Any]) -> None:
        _write(self.path / _REQUEST, json.dumps({**about, "request": request.to_json()}, indent=2))


def command_line(request: Request, path: Path, *, resume: bool = True) -> str:
    """The command of a request, for people to copy."""
    words = ["matinvent", "experiment", request.experiment, "--scale", request.scale, "--seeds", str(request.seeds)]
    if request.tasks:
        words += ["--tasks", ",".join(request.tasks)]
    for setting in request.settings:
        words += ["--set", setting]
    if request.parallel > 1:
        words += ["--parallel", str(request.parallel)]
    return shlex.join([*words, "--output", str(path), *(["--resume"] if resume else [])])


def _write(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
