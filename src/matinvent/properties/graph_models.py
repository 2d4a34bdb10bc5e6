"""Models of matgl and ALIGNN as properties, each in an environment of its own.

Both packages have dependencies of their own that need not agree with MatInvent's, so their models run as external
programs (programs/matgl_program.py, programs/alignn_program.py) by the Python that has the package.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matinvent.errors import ConfigError
from matinvent.properties.evaluator import Cost
from matinvent.properties.external import PROGRAMS, Program


class _GraphModel(Program):
    """A model of a package, served by a program of that package's.

    Args:
        property: name of what it predicts.
        model: folder of a saved model, or a name that the package knows (which it may download).
        unit: of the model's output.
        bounds: smallest and largest value that can be right; others are failures.
        python: the Python that has the package; None for the one that runs MatInvent.
        timeout: seconds for one crystal.
        startup_timeout: seconds for loading the model.

    Raises:
        ConfigError: the package is missing there, it has no such model, or the settings are wrong.
    """

    package: str
    _cost: Cost = "instant"

    def __init__(
        self,
        property: str,  # noqa: A002 - the word of campaign files
        model: str,
        unit: str,
        bounds: Sequence[float] | None = None,
        python: str | None = None,
        timeout: float = 120.0,
        startup_timeout: float = 300.0,
    ) -> None:
        limits = (-math.inf, math.inf) if bounds is None else tuple(bounds)
        if len(limits) != 2 or not all(isinstance(limit, int | float) for limit in limits):
            raise ConfigError(f"property '{self.package}:{property}': bounds {bounds} must be two numbers")
        path = str(Path(model).resolve()) if Path(model).is_dir() else model
        declared = [f"--name={property}", f"--unit={unit}", f"--lower={limits[0]}", f"--upper={limits[1]}"]
        script = str(PROGRAMS / f"{self.package}_program.py")
        command = [python or sys.executable, script, path, *declared]
        super().__init__(command, timeout, startup_timeout)
        self.params: Mapping[str, Any] = {"property": property, "model": model, "unit": unit}


class Matgl(_GraphModel):
    """A property model of matgl (MEGNet, M3GNet, ...): ``matgl:NAME`` with ``params: {model: ..., unit: ...}``."""

    package = "matgl"


class Alignn(_GraphModel):
    """A property model of ALIGNN: ``alignn:NAME`` with ``params: {model: ..., unit: ...}``."""

    package = "alignn"
