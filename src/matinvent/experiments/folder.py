"""An experiment on disk: what was asked for, and which of its campaigns are finished.

experiment.json          the request
campaigns/NAME.yaml      complete settings of a campaign
runs/NAME/               its run directory, as of `matinvent run`
logs/NAME.log            what it printed
finished/NAME.json.gz    there once nothing of it is left to do: its record, what was measured of its final agent, where
report.md, table.csv, summary.csv, *.svg
so-far/                  the same of what was finished when it was asked for

Reports need finished/ only. With experiment.json it is all that must be kept to go on later or elsewhere: copied
together from several machines, the campaigns of all of them count.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import shlex
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import ValidationError

from matinvent.config_files import explain
from matinvent.errors import CheckpointError, ConfigError, InputError
from matinvent.experiments.catalogue import Planned, Request
from matinvent.experiments.records import Record

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig

_REQUEST = "experiment.json"


@dataclass(frozen=True)
class Finished:
    """A campaign of which nothing is left to do.

    Attributes:
        record: what it left behind.
        judged: what was measured of its final agent (see ``judge.py``); empty where nothing was.
        surroundings: machine and versions.
    """

    record: Record
    judged: dict[str, float]
    surroundings: str

    def to_bytes(self) -> bytes:
        """Compressed JSON; equal for equal content."""
        data = {"surroundings": self.surroundings, "judged": self.judged, "record": self.record.to_json()}
        return gzip.compress(json.dumps(data).encode(), mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes) -> Finished:
        """What :meth:`to_bytes` gave.

        Raises:
            KeyError, TypeError, ValueError, OSError, EOFError, zlib.error: it is something else.
        """
        values = json.loads(gzip.decompress(data))
        return cls(Record.from_json(values["record"]), dict(values["judged"]), str(values["surroundings"]))


class ExperimentFolder:
    """Paths and records of one experiment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, path: Path, request: Request) -> ExperimentFolder:
        """Make a new folder.

        Args:
            path: does not exist, or is an empty folder.
            request: what is to be done.

        Raises:
            InputError: something is there already.
        """
        folder = cls(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            resumable = "continue it with --resume or " if (path / _REQUEST).is_file() else ""
            raise InputError(f"{path}: exists already and is never overwritten; {resumable}choose another --output")
        path.mkdir(parents=True, exist_ok=True)
        folder.lock()
        folder._write_request(request)
        return folder

    @classmethod
    def open(cls, path: Path, request: Request, *, to_read: bool = False) -> ExperimentFolder:
        """Go on with an experiment; seeds and tasks may have been added.

        Args:
            path: the folder.
            request: what is to be done.
            to_read: look only, also while another process works on it.

        Raises:
            InputError: no experiment is there, or another process works on it.
            ConfigError: it is another experiment than the one asked for.
        """
        folder = cls(path)
        if not (path / _REQUEST).is_file():
            verb, option = ("report", "--so-far") if to_read else ("resume", "--resume")
            raise InputError(f"{path}: no experiment to {verb} in it; leave {option} out to start one")
        if not to_read:
            folder.lock()
        earlier = folder._request()
        if not (request.extends(earlier) or (to_read and earlier.extends(request))):
            folder.unlock()
            does, option = ("report", "so-far") if to_read else ("continue", "resume")
            command = command_line(earlier, path, option)
            raise ConfigError(f"{path}: holds another experiment; {does} that with: {command}")
        if request != earlier and not to_read:
            folder._write_request(request)
        return folder

    def _request(self) -> Request:
        try:
            return Request.from_json(json.loads((self.path / _REQUEST).read_text(encoding="utf-8"))["request"])
        except (KeyError, TypeError, ValueError) as error:
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
        """Write a campaign's settings, unless it has begun with its own.

        Raises:
            ConfigError: the campaign was begun or finished with other settings.
        """
        for name in ("campaigns", "runs", "logs", "finished"):
            (self.path / name).mkdir(exist_ok=True)
        file = self.settings_file(planned.name)
        if self.is_finished(planned.name):
            self.require_same(planned)
            return
        if file.is_file():
            from matinvent.tasks import load_task

            self._require(planned, load_task(str(file)), file)
        if not (file.is_file() and self.run_directory(planned.name).exists()):
            _write(file, planned.config.to_yaml().encode())  # the share of the cores may be another one now

    def require_same(self, planned: Planned) -> None:
        """Refuse a finished campaign that had other settings, or whose agent was judged by samples of another size.

        Raises:
            ConfigError: it had, or was.
            CheckpointError: its record is damaged.
        """
        finished, mark = self.finished(planned.name), self._mark(planned.name)
        self._require(planned, finished.record.settings, mark)
        size = finished.judged.get("size")
        if finished.judged and size != planned.judging.size:
            told = f"size {size:g}" if size else "unknown size"
            raise ConfigError(
                f"{mark}: its agent was judged by samples of {told}, not of {planned.judging.size} crystals; "
                "the shares of unique ones do not compare: delete the file and resume"
            )

    def _require(self, planned: Planned, found: CampaignConfig, file: Path) -> None:
        """Refuse to mix campaigns of different settings in one report."""
        before, now = _anywhere(found), _anywhere(planned.config)
        if before != now:
            raise ConfigError(
                f"{file}: made with other settings than {planned.name} has now ({_difference(before, now)}); "
                "choose another --output, or delete the file and the campaign's run directory to run it again"
            )

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

    def unfinished(self, plan: Sequence[Planned]) -> list[Planned]:
        """Campaigns of which something is left to do: all of them while there is no folder."""
        return [planned for planned in plan if not self.is_finished(planned.name)]

    def finish(self, name: str, finished: Finished) -> None:
        """Note that a campaign is done."""
        _write(self._mark(name), finished.to_bytes())

    def finished(self, name: str) -> Finished:
        """What :meth:`finish` was told.

        Raises:
            CheckpointError: the file is damaged, or its settings are of another version of matinvent.
        """
        try:
            return Finished.from_bytes(self._mark(name).read_bytes())
        except ValidationError as error:
            origin = f"{self._mark(name)}: of another version of matinvent; use that one, or delete it and resume"
            raise CheckpointError(explain(error, origin)) from None
        except (KeyError, TypeError, ValueError, OSError, EOFError, zlib.error) as error:
            raise CheckpointError(f"{self._mark(name)}: damaged ({error}); delete it and resume") from None

    def iterations(self, name: str) -> int:
        """Iterations that a campaign has finished so far."""
        try:
            with (self.run_directory(name) / "metrics.csv").open("rb") as lines:
                return max(0, sum(1 for _ in lines) - 1)
        except FileNotFoundError:
            return 0

    def _mark(self, name: str) -> Path:
        return self.path / "finished" / f"{name}.json.gz"

    def _write_request(self, request: Request) -> None:
        _write(self.path / _REQUEST, json.dumps({"request": request.to_json()}, indent=2).encode())


def command_line(request: Request, path: Path, option: str = "resume") -> str:
    """The command of a request, for people to copy; with an option such as ``resume``, or none."""
    words = ["matinvent", "experiment", request.experiment, "--scale", request.scale, "--seeds", str(request.seeds)]
    if request.tasks:
        words += ["--tasks", ",".join(request.tasks)]
    if request.arms:
        words += ["--arms", ",".join(request.arms)]
    for setting in request.settings:
        words += ["--set", setting]
    if request.parallel > 1:
        words += ["--parallel", str(request.parallel)]
    return shlex.join([*words, "--output", str(path), *([f"--{option}"] if option else [])])


def _anywhere(config: CampaignConfig) -> CampaignConfig:
    """The settings without the cores of a machine: an experiment may go on where there are more of them."""
    screening = config.screening.model_copy(update={"workers": 0})
    return config.model_copy(update={"threads": 0, "screening": screening})


def _difference(before: CampaignConfig, now: CampaignConfig) -> str:
    """The first setting that differs, e.g. ``generator.samples: 80, now 64``."""
    one, other = (_leaves(config.model_dump(mode="json", by_alias=True)) for config in (before, now))
    key = next(key for key in {**one, **other} if one.get(key) != other.get(key))
    return f"{key}: {one.get(key)}, now {other.get(key)}"


def _leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Nested settings by dotted keys."""
    if not isinstance(value, dict | list):
        return {key: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {
        inner: leaf
        for name, item in items
        for inner, leaf in _leaves(item, f"{key}.{name}" if key else str(name)).items()
    }


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
