"""Features of many crystals: in several processes, and kept in a file for the next time."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure, InputError
from matinvent.execution.executors import available_cores, make_executor_factory
from matinvent.execution.runner import Runner
from matinvent.predictors.features import block_names, describe, feature_names

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    Floats = NDArray[np.float32]

#: Crystals that a process describes at a time.
_CHUNK = 128


class FeatureFile:
    """Features of crystals that were described before, by what the crystals are made of.

    Args:
        path: ``NAME.npz``, read if it exists; None to keep nothing.

    Raises:
        InputError: the file exists and cannot be read, or holds other features.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[bytes, Floats] = {}
        self._names = feature_names(block_names())
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as data:
                names, crystals, values = data["names"].tolist(), data["crystals"], data["values"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: no readable file of features ({type(error).__name__}: {error})") from None
        if names != self._names or values.shape != (len(crystals), len(names)):
            raise InputError(f"{path}: holds features of another version; remove it or name another file")
        self._rows = {key.tobytes(): row for key, row in zip(crystals, values, strict=True)}

    def describe(
        self, structures: Sequence[Structure], workers: int, progress: Callable[[float], None]
    ) -> list[Floats | Failure]:
        """All features of each crystal, shape (F,); new ones are made and kept, also when this is interrupted.

        Args:
            structures: the crystals.
            workers: processes; 0: one per CPU core.
            progress: called with the finished share; may raise to interrupt.
        """
        keys = [_key(structure) for structure in structures]
        new = {key: structure for key, structure in zip(keys, structures, strict=True) if key not in self._rows}
        failures: dict[bytes, Failure] = {}
        try:
            self._make(new, failures, workers or available_cores(), progress)
        finally:
            if len(new) > len(failures):
                self._write()
        return [failures[key] if key in failures else self._rows[key] for key in keys]

    def _make(
        self,
        new: dict[bytes, Structure],
        failures: dict[bytes, Failure],
        workers: int,
        progress: Callable[[float], None],
    ) -> None:
        names = list(new)
        chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]

        def keep(position: int, outcome: list[Floats | Failure] | Failure) -> None:
            rows = [outcome] * len(chunks[position]) if isinstance(outcome, Failure) else outcome
            for key, row in zip(chunks[position], rows, strict=True):
                if isinstance(row, Failure):
                    failures[key] = row
                else:
                    self._rows[key] = row

        factory = make_executor_factory("processes" if workers > 1 else "serial", workers)
        with Runner(factory) as runner:
            runner.map(_describe_all, [[new[key] for key in chunk] for chunk in chunks], progress, keep)

    def _write(self) -> None:
        """Write all rows atomically."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        crystals = np.frombuffer(b"".join(self._rows), dtype=np.uint8).reshape(len(self._rows), -1)
        temporary = self._path.with_name(self._path.name + ".part")
        with temporary.open("wb") as file:
            np.savez(file, names=np.array(self._names), crystals=crystals, values=np.stack(list(self._rows.values())))
        temporary.replace(self._path)


def _describe_all(structures: Sequence[Structure]) -> list[Floats | Failure]:
    return describe(structures, block_names())


def _key(structure: Structure) -> bytes:
    """A hash of lattice, coordinates and species, 20 bytes."""
    species = ";".join(map(str, structure.species_and_occu))
    parts = (structure.lattice.matrix.tobytes(), structure.frac_coords.tobytes(), species.encode())
    return hashlib.sha256(b"|".join(parts)).digest()[:20]
