"""What the programs of packages with graph models share: their arguments, their version, their missing package."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import sys

from matinvent_program import refuse  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def read_arguments() -> argparse.Namespace:
    """Model, name, unit and bounds from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", help="folder of a saved model, or a name that the package knows")
    parser.add_argument("--name", required=True)
    parser.add_argument("--unit", required=True)
    parser.add_argument("--lower", type=float, default=float("-inf"))
    parser.add_argument("--upper", type=float, default=float("inf"))
    return parser.parse_args()


def require(package: str, module: str) -> Any:
    """Import a module of a package, or end with what to do about it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        refuse(
            f"{sys.executable} cannot import '{module}' ({error}). Install it there with: pip install {package}; "
            "or name the Python that has it in params: {python: ...}"
        )


def declare(arguments: argparse.Namespace, source: str) -> dict[str, Any]:
    """The property as a greeting declares it."""
    limits = [None if abs(limit) == float("inf") else limit for limit in (arguments.lower, arguments.upper)]
    description = f"{arguments.name} by the model {os.path.basename(arguments.model)}."  # noqa: PTH119
    return {
        "name": arguments.name,
        "unit": arguments.unit,
        "bounds": limits,
        "cost": "instant",
        "description": description,
        "source": source,
    }


def identify(package: str, module: ModuleType, model: str) -> str:
    """Version of the package and, of a model in a folder, its files."""
    digest = hashlib.sha256()
    for folder, _, files in sorted(os.walk(model)):
        for file in sorted(files):
            with open(os.path.join(folder, file), "rb") as content:  # noqa: PTH118, PTH123
                digest.update(content.read())
    return f"{package}-{getattr(module, '__version__', 'unknown')}-{digest.hexdigest()[:12]}"
