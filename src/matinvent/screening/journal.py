"""Relaxations on disk as they arrive, so that hours of work survive a kill.

The file holds JSON lines: a header that names the settings, then one line per result. Numbers are written so that
they read back exactly.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from matinvent import __version__
from matinvent.errors import ConfigError, Failure, InputError
from matinvent.screening.relaxation import OnResult, Progress, Relaxation, Relaxer, Results, each_ceiling

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.config_screening import RelaxationConfig

_FORMAT = 1

#: Failures of the machine rather than of the crystal (a killed worker, a time-out); another attempt may succeed.
_TRANSIENT = frozenset({"crashed", "timeout"})


class JournaledRelaxer:
    """Relaxes what its journal does not hold yet, and writes each result down as soon as it is known.

    The file is opened, and its folder made, by the first relaxation; one process at a time may use it. A crystal
    that is given twice is relaxed once. Failures of the machine (a killed worker) are not kept.

    Args:
        inner: the relaxer that does the work; closed with this one.
        file: the journal; made if there is none.
        identity: names every setting that changes results: potential, criterion, limits.
    """

    def __init__(self, inner: Relaxer, file: Path, identity: str) -> None:
        self.potential = inner.potential
        self._inner = inner
        self._file = file
        self._identity = identity
        self._journal: _Journal | None = None

    def relax(
        self,
        structures: Sequence[Structure],
        progress: Progress | None = None,
        *,
        ceilings: Sequence[float | None] | None = None,
        on_result: OnResult | None = None,
    ) -> list[Relaxation | Failure]:
        """Relax crystals (see :class:`~matinvent.screening.relaxation.Relaxer`).

        Raises:
            ConfigError: the journal was written with other settings.
            InputError: the journal cannot be read or written, or another process uses it.
        """
        journal = self._opened()
        limits = each_ceiling(ceilings, len(structures))
        keys = [crystal_key(structure, limit) for structure, limit in zip(structures, limits, strict=True)]
        results = Results(len(structures), on_result)
        waiting: dict[str, list[int]] = {}
        for position, key in enumerate(keys):
            known = journal.find(key)
            if known is None:
                waiting.setdefault(key, []).append(position)
            else:
                results.settle(position, known)
        firsts = [positions[0] for positions in waiting.values()]

        def arrive(number: int, result: Relaxation | Failure) -> None:
            key = keys[firsts[number]]
            journal.add(key, result)
            for position in waiting[key]:
                results.settle(position, result)

        if firsts:
            chosen = [structures[position] for position in firsts]
            report = _rest_of(progress, len(firsts), len(structures))
            self._inner.relax(chosen, report, ceilings=[limits[p] for p in firsts], on_result=arrive)
        return results.complete()

    def _opened(self) -> _Journal:
        if self._journal is None:
            self._journal = _Journal(self._file, self._identity)
        return self._journal

    def close(self) -> None:
        """Close the inner relaxer and let other processes use the journal."""
        self._inner.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def _rest_of(progress: Progress | None, missing: int, total: int) -> Progress | None:
    """Progress of what is missing as progress of the whole."""
    if progress is None:
        return None
    return lambda share: progress(1 - (1 - share) * missing / total)


def crystal_key(structure: Structure, ceiling: float | None) -> str:
    """What a relaxation starts from, in 32 hexadecimal digits: species, exact geometry, and the ceiling."""
    digest = hashlib.sha256()
    digest.update("\n".join(site.species_string for site in structure).encode())
    digest.update(np.ascontiguousarray(structure.lattice.matrix, dtype=np.float64).tobytes())
    digest.update(np.ascontiguousarray(structure.frac_coords, dtype=np.float64).tobytes())
    digest.update(repr(None if ceiling is None else float(ceiling)).encode())
    return digest.hexdigest()[:32]


def settings_identity(potential: str, config: RelaxationConfig) -> str:
    """The identity of a journal: all that determines a relaxation, but not how many are done at once and where."""
    values = config.model_dump(exclude={"potential", "batch_atoms", "device"})
    return f"{potential}, {', '.join(f'{name} {value}' for name, value in values.items())}, matinvent {__version__}"


class _Journal:
    """The file: where each result lies in it, and appending to it."""

    def __init__(self, file: Path, identity: str) -> None:
        self._file = file
        self._spans: dict[str, tuple[int, int]] = {}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._stream: IO[bytes] = file.open("a+b", buffering=0)
        except OSError as error:
            raise InputError(f"{file}: cannot be opened ({error.strerror})") from None
        try:
            self._lock()
            self._end = self._load(identity)
            if self._end == 0:
                self._append({"format": _FORMAT, "identity": identity})
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._spans)

    def find(self, key: str) -> Relaxation | Failure | None:
        """The result that was written for a key."""
        span = self._spans.get(key)
        return None if span is None else _decode(json.loads(os.pread(self._stream.fileno(), span[1], span[0])))

    def add(self, key: str, result: Relaxation | Failure) -> None:
        """Append a result; it is in the hands of the operating system when this returns."""
        if not (isinstance(result, Failure) and result.kind in _TRANSIENT):
            self._spans[key] = self._append({"key": key, **_encode(result)})

    def close(self) -> None:
        self._stream.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{self._file}: another process is using it; wait for it or stop it first") from None

    def _load(self, identity: str) -> int:
        """Find the results of earlier sessions; returns the length of the file, without what a kill left unfinished."""
        end = 0
        with self._file.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # cut off by a kill; its crystal is relaxed again
                if end == 0:
                    self._check_header(line, identity)
                elif (record := _parse(line)) is not None and "key" in record:
                    self._spans[record["key"]] = (end, len(line))
                end += len(line)
        self._stream.truncate(end)
        return end

    def _check_header(self, line: bytes, identity: str) -> None:
        header = _parse(line)
        if header is None or "identity" not in header:
            raise InputError(f"{self._file}: not a journal of relaxations; choose another file")
        if (header.get("format"), header["identity"]) != (_FORMAT, identity):
            raise ConfigError(
                f"{self._file}: holds relaxations with other settings ({header['identity']}; asked for: {identity}); "
                "continue with those settings, or choose another file"
            )

    def _append(self, record: dict[str, Any]) -> tuple[int, int]:
        """Write one line as a whole or not at all; returns where it begins and its length."""
        from monty.json import MontyEncoder

        line = json.dumps(record, cls=MontyEncoder).encode() + b"\n"
        start, rest = self._end, memoryview(line)
        try:
            while rest:  # a disk that fills up takes a part of a line before it refuses the rest
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            self._stream.truncate(start)
            raise InputError(
                f"{self._file}: cannot be written ({error.strerror}); {len(self)} results in it are safe. "
                "Make room, then continue"
            ) from None
        self._end = start + len(line)
        return start, len(line)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record in a line; None if the line is damaged."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _encode(result: Relaxation | Failure) -> dict[str, Any]:
    if isinstance(result, Failure):
        return {"failure": [result.kind, result.reason]}
    plain = {field.name: getattr(result, field.name) for field in fields(Relaxation) if field.name != "structure"}
    return {"relaxation": plain, "structure": result.structure.as_dict()}


def _decode(record: dict[str, Any]) -> Relaxation | Failure:
    from pymatgen.core import Structure

    if "failure" in record:
        return Failure(*record["failure"])
    return Relaxation(structure=Structure.from_dict(record["structure"]), **record["relaxation"])
