"""The result cache: exact values, identity of evaluations, kills and damage."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from matinvent.errors import CheckpointError
from matinvent.execution.cache import ResultCache, cache_key


def crystal(edge: float = 3.0, symbol: str = "Fe") -> Structure:
    return Structure(Lattice.cubic(edge), [symbol], [[0, 0, 0]])


@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_values_come_back_to_the_last_bit(values):
    cache = ResultCache(None)
    cache.put("key", values)
    assert repr(cache.get("key")) == repr(values)


def test_results_stay_on_disk(tmp_path):
    cache = ResultCache(tmp_path / "cache.db")
    cache.put("a", {"x": 0.1})
    cache.put("a", {"x": 0.2})
    cache.close()
    reopened = ResultCache(tmp_path / "cache.db")
    assert reopened.get("a") == {"x": 0.2}
    assert reopened.get("b") is None
    assert len(reopened) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_success(value):
    cache = ResultCache(None)
    with pytest.raises(ValueError, match="JSON"):
        cache.put("a", {"x": value})
    assert cache.get("a") is None


def test_key_tells_all_that_matters_apart():
    base = ("density", "1", {"a": 1, "b": 2}, crystal())
    keys = {
        cache_key(*base),
        cache_key("hhi", *base[1:]),
        cache_key("density", "2", *base[2:]),
        cache_key("density", "1", {"a": 1, "b": 3}, crystal()),
        cache_key(*base[:3], crystal(math.nextafter(3.0, 4.0))),
        cache_key(*base[:3], crystal(symbol="Co")),
    }
    assert len(keys) == 6
    assert cache_key("density", "1", {"b": 2, "a": 1}, crystal().copy()) == cache_key(*base)


def test_what_was_put_survives_a_kill(tmp_path):
    path = tmp_path / "cache.db"
    code = f"""
import os, signal
from pathlib import Path
from matinvent.execution.cache import ResultCache
cache = ResultCache(Path({str(path)!r}))
cache.put("a", {{"x": 1.5}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert ResultCache(path).get("a") == {"x": 1.5}


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"x" * 4000])
def test_damaged_file_is_a_checkpoint_error(tmp_path, content):
    path = tmp_path / "cache.db"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cache\.db.*damaged.*delete"):
        ResultCache(path)


def test_damage_met_later_is_a_checkpoint_error(tmp_path):
    cache = ResultCache(tmp_path / "cache.db")
    cache.put("a", {"x": 1.5})
    cache._connection.execute("UPDATE results SET value = '{broken'")
    with pytest.raises(CheckpointError, match="damaged"):
        cache.get("a")
