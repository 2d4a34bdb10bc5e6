"""``matinvent doctor``: is everything in place that a campaign needs?"""

from __future__ import annotations

import io
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.markup import escape
from rich.table import Table

from matinvent import __version__
from matinvent.cli.output import console

_REINSTALL = "pip install --force-reinstall matinvent"
#: Distributions whose versions decide results.
_DEPENDENCIES = (
    "ase", "chgnet", "moyopy", "numpy", "pandas", "phonopy", "pyarrow", "pydantic",
    "pymatgen", "safetensors", "scipy", "smact", "tensorboard", "torch", "typer",
)  # fmt: skip
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and how to fix it when it is not well."""

    name: str
    found: str
    well: bool = True
    fix: str = ""


def doctor() -> None:
    """Check the installation: versions, potential, priors, reference set, cores, memory and disk.

    Leaves with status 1 when something needs fixing.
    """
    checks = [check for examine in _EXAMINATIONS for check in _examined(examine)]
    table = Table("", "what", "found", "fix")
    for check in checks:
        mark = "[green]ok[/green]" if check.well else "[red]FIX[/red]"
        table.add_row(mark, escape(check.name), escape(check.found), escape(check.fix))
    console().print(table)
    if not all(check.well for check in checks):
        raise typer.Exit(1)


def _examined(examine: Callable[[], list[Check]]) -> list[Check]:
    """Run one examination; whatever breaks in it is its finding."""
    try:
        return examine()
    except Exception as error:  # noqa: BLE001 (the doctor reports any fault instead of dying of it)
        name = examine.__name__.strip("_").replace("_", " ")
        return [Check(name, f"{type(error).__name__}: {error}", well=False, fix=_REINSTALL)]


def _python() -> list[Check]:
    well = sys.version_info >= (3, 11)
    return [Check("Python", f"{platform.python_version()} on {platform.system()}", well, "" if well else "use 3.11+")]


def _packages() -> list[Check]:
    from importlib.metadata import PackageNotFoundError, version

    checks = [Check("matinvent", __version__)]
    for name in _DEPENDENCIES:
        try:
            checks.append(Check(name, version(name)))
        except PackageNotFoundError:
            checks.append(Check(name, "not installed", well=False, fix=f"pip install {name}"))
    return checks


def _torch() -> list[Check]:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none, the CPU is used"
    return [Check("torch threads", str(torch.get_num_threads())), Check("GPU", device)]


def _potential() -> list[Check]:
    from chgnet.model import CHGNet

    start = time.monotonic()
    with redirect_stdout(io.StringIO()):  # the constructor prints
        model = CHGNet.load(use_device="cpu", verbose=False)
    found = f"CHGNet {model.version}, {model.n_params:,} weights, loaded in {time.monotonic() - start:.1f} s"
    return [Check("potential", found)]


def _priors() -> list[Check]:
    from matinvent.priors import list_priors

    priors = list_priors()
    if not priors:
        return [Check("priors", "none", well=False, fix=_REINSTALL)]
    return [Check(f"prior {prior.name}", f"{prior.path.stat().st_size / 2**20:.1f} MiB") for prior in priors]


def _reference_set() -> list[Check]:
    from matinvent.screening.reference import ReferenceSet

    start = time.monotonic()
    ReferenceSet.load("mp")
    return [Check("reference set", f"mp, loaded in {time.monotonic() - start:.1f} s")]


def _machine() -> list[Check]:
    from matinvent.execution.executors import available_cores

    cores = available_cores()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    return [
        Check("CPU cores", str(cores)),
        Check("memory", f"{memory:.1f} GiB", memory > 4, "" if memory > 4 else "4 GiB or more are advisable"),
        Check("free disk here", f"{free:.1f} GiB", free > 1, "" if free > 1 else "free 1 GiB"),
    ]


_EXAMINATIONS = (_python, _packages, _torch, _potential, _priors, _reference_set, _machine)
