"""A campaign on disk: configuration, checkpoints and where everything else lies.

Checkpoints are written to a temporary folder and renamed, so that one either exists whole or not at
all; a run directory is never taken over by a second campaign.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml

from matinvent.config import CampaignConfig
from matinvent.config_files import build_config
from matinvent.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import torch

_KEPT = 2
_PREFIX = "iteration-"


class RunDirectory:
    """Paths and checkpoints of one campaign."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.ledger_file = path / "ledger.db"
        self.cache_file = path / "cache.db"
        self.checkpoints = path / "checkpoints"
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, path: Path, config: CampaignConfig) -> RunDirectory:
        """Make a new run directory and write the complete configuration into it.

        Raises:
            ConfigError: the directory exists and is not empty.
        """
        ensure_free(path)
        directory = cls(path)
        directory.checkpoints.mkdir(parents=True)
        directory.lock()
        directory.config_file.write_text(config.to_yaml(), encoding="utf-8")
        return directory

    def lock(self) -> None:
        """Keep other processes out until :meth:`unlock`, or until this process dies.

        Raises:
            CheckpointError: another process works in the directory.
        """
        self._lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.unlock()
            raise CheckpointError(f"{self.path}: another process is running this campaign; stop it first") from None

    def unlock(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def discard(self) -> None:
        """Remove a run directory that was just created and never used."""
        self.unlock()
        shutil.rmtree(self.path)

    @classmethod
    def open(cls, path: Path) -> tuple[RunDirectory, CampaignConfig]:
        """Find an existing campaign and its configuration.

        Raises:
            CheckpointError: the path holds no campaign.
        """
        directory = cls(path)
        if not directory.config_file.is_file():
            raise CheckpointError(f"{path}: not a run directory (no config.yaml in it)")
        try:
            data = yaml.safe_load(directory.config_file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{directory.config_file}: damaged: {error}") from None
        return directory, build_config(data, origin=str(directory.config_file))

    def save(self, iteration: int, weights: dict[str, Any], memory: dict[str, Any]) -> None:
        """Write the state after ``iteration`` finished iterations and drop the oldest checkpoints.

        Args:
            iteration: iterations finished.
            weights: tensors and plain values (agent and optimizer), written by torch.
            memory: JSON values (replay buffer, diversity filter, counters).
        """
        import torch

        final = self.checkpoints / f"{_PREFIX}{iteration:05d}"
        temporary = self.checkpoints / f".{final.name}.part"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        buffer = io.BytesIO()  # torch reports a full disk as a RuntimeError; plain files as the OSError it is
        torch.save(weights, buffer)
        _write(temporary / "weights.pt", buffer.getvalue())
        _write(temporary / "memory.json", json.dumps(memory).encode())
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)
        for old in self._saved()[:-_KEPT]:
            shutil.rmtree(old)

    def load(self) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
        """The newest checkpoint: finished iterations, weights, memory; None before the first one.

        Raises:
            CheckpointError: the checkpoint cannot be read.
        """
        import torch

        saved = self._saved()
        if not saved:
            return None
        newest = saved[-1]
        try:
            weights = torch.load(newest / "weights.pt", map_location="cpu", weights_only=True)
            memory = json.loads((newest / "memory.json").read_text(encoding="utf-8"))
        except Exception as error:  # noqa: BLE001 - torch raises anything for damaged files
            raise CheckpointError(
                f"{newest}: checkpoint is damaged ({type(error).__name__}); delete it to resume from the one before"
            ) from None
        return int(newest.name.removeprefix(_PREFIX)), weights, memory

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint."""
        return bool(self._saved())

    def require_ledger(self) -> None:
        """Refuse to go on without what the campaign has seen.

        Raises:
            CheckpointError: there is a checkpoint, but no ledger.
        """
        if self.begun and not self.ledger_file.is_file():
            raise CheckpointError(
                f"{self.ledger_file}: missing; the campaign cannot go on without what it has seen. Put the file back, "
                f"or begin a campaign from this one's agent: --set start.agent={self.path}"
            )

    def keep(self, name: str, content: bytes) -> None:
        """Keep a file that the campaign needs from its start on; it exists whole or not at all."""
        temporary = self.path / f".{name}.part"
        _write(temporary, content)
        temporary.replace(self.path / name)

    def kept(self, name: str) -> bytes | None:
        """What :meth:`keep` wrote, None before."""
        path = self.path / name
        return path.read_bytes() if path.is_file() else None

    def _saved(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in self.checkpoints.glob(f"{_PREFIX}*") if p.name.removeprefix(_PREFIX).isdecimal())


def ensure_free(path: Path) -> None:
    """Refuse a place where something is already.

    Raises:
        ConfigError: the path is a file or a directory that is not empty.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        resumable = f"continue it with 'matinvent resume {path}' or " if (path / "config.yaml").is_file() else ""
        raise ConfigError(f"{path}: exists already and is never overwritten; {resumable}choose another --output")


def _write(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def weights_identity(weights: dict[str, torch.Tensor]) -> str:
    """A hash that changes whenever any weight does."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
