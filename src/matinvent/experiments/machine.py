"""The machine that numbers were measured on, in words."""

from __future__ import annotations

import platform
from pathlib import Path

from matinvent import __version__
from matinvent.execution.executors import available_cores


def processor() -> str:
    """CPU model and number of cores in use."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {available_cores()} cores"


def surroundings() -> str:
    """Machine and versions that a result depends on."""
    return f"{processor()}; matinvent {__version__}, Python {platform.python_version()}"
