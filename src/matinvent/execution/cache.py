"""Results that need not be computed twice, in a SQLite file that survives a kill.

Only successes are kept: a failure may be due to circumstances, and is tried again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinvent.errors import CheckpointError

if TYPE_CHECKING:
    from pymatgen.core import Structure


def cache_key(name: str, version: str, params: Mapping[str, Any], structure: Structure) -> str:
    """Identity of one evaluation: equal keys mean the same evaluator, version, parameters and crystal.

    Coordinates count to the last bit; a translated or reordered crystal is another one.
    """
    crystal = {key: value for key, value in structure.as_dict(verbosity=0).items() if not key.startswith("@")}
    identity = json.dumps([name, version, dict(params), crystal], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()


class ResultCache:
    """Maps keys to dictionaries of numbers.

    Args:
        path: SQLite file, made when missing; None to keep the results in memory.

    Raises:
        CheckpointError: the file is damaged; also raised by later calls that meet the damage.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # The default rollback journal makes each commit whole or nothing, also on network file systems.
        self._connection = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False)
        with self._guarded():
            self._connection.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    def get(self, key: str) -> dict[str, Any] | None:
        """The stored result, None when there is none."""
        with self._guarded():
            row = self._connection.execute("SELECT value FROM results WHERE key = ?", (key,)).fetchone()
            return None if row is None else json.loads(row[0])

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """Store a result for good; when this returns, it is on disk.

        Raises:
            ValueError: the result holds a number that is not finite, so it is no success.
        """
        value = json.dumps(dict(result), allow_nan=False)
        with self._guarded():
            self._connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (key, value))

    def __len__(self) -> int:
        with self._guarded():
            count: int = self._connection.execute("SELECT COUNT(*) FROM results").fetchone()[0]
            return count

    def close(self) -> None:
        """Close the file; the cache cannot be used any more."""
        self._connection.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One transaction; damage becomes our error."""
        try:
            with self._connection:
                yield
        except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
            raise CheckpointError(
                f"{self._path}: the result cache is damaged ({error}); delete the file, its results will be recomputed"
            ) from None
