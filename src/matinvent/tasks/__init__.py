"""Design tasks that come with the package, and how a campaign's configuration is put together.

A configuration is built from layers, each overriding the one before: the shipped task (named on the
command line, or by a file's ``base`` key), the user's file, a preset such as ``quick``, and single
``a.b=c`` values. Mappings are merged key by key; lists and values are replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

from matinvent.config import CampaignConfig
from matinvent.config_files import build_config, read_yaml
from matinvent.errors import ConfigError
from matinvent.suggestions import nearest

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A shipped task: its name, one line about it, its goal in words, and its file."""

    name: str
    summary: str
    goal: str
    path: Path


def list_tasks() -> list[TaskInfo]:
    """The tasks inside the package, by name."""
    return [_describe(path) for path in _shipped().values()]


def list_presets() -> list[str]:
    """The presets that ``matinvent run --preset`` knows."""
    return list(_shipped("presets"))


def load_task(name_or_path: str, preset: str | None = None, overrides: Sequence[str] = ()) -> CampaignConfig:
    """Build a campaign from a shipped task or a YAML file, a preset, and ``a.b=c`` overrides.

    A file may hold ``base: TASK`` and then only what differs from that shipped task. Whoever changes its objectives and
    gives no ``goal`` gets one that says what is wanted now.

    Raises:
        ConfigError: no such task, file, base or preset, or the layers do not make a valid campaign.
    """
    layers = _task_layers(name_or_path)
    own = {*layers[1], *(override.partition("=")[0].split(".")[0] for override in overrides)}
    if preset is not None:
        layers.append(read_yaml(_find(preset, _shipped("presets"), "preset")))
    origin = f"task '{name_or_path}'" if name_or_path in _shipped() else name_or_path
    config = build_config(reduce(merge, layers), overrides, origin=origin)
    if "objectives" in own and "goal" not in own:
        wanted = ", ".join(objective.in_words() for objective in config.objectives)
        return config.model_copy(update={"goal": wanted, **({} if "description" in own else {"description": ""})})
    return config


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings: ``over`` wins, mappings are merged recursively, lists are replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _task_layers(name_or_path: str) -> list[dict[str, Any]]:
    """A shipped task and what the user's own file changes of it; one of both may be empty."""
    shipped = _shipped()
    path = Path(name_or_path)
    if name_or_path in shipped:
        return [read_yaml(shipped[name_or_path]), {}]
    if path.suffix.lower() not in _SUFFIXES and not path.exists():
        raise ConfigError(_unknown("task", name_or_path, shipped) + "; or name a YAML file")
    own = read_yaml(path)
    if "base" not in own:
        return [{}, own]
    base = own.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{path}: 'base' must be the name of one shipped task (given: {base!r})")
    return [read_yaml(_find(base, shipped, "task", f"{path}: base: ")), own]


def _shipped(folder: str = "") -> dict[str, Path]:
    """Name -> file of the YAML files in the package's ``tasks`` folder, or a folder below it."""
    root = Path(str(resources.files("matinvent"))) / "tasks" / folder
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}


def _find(name: str, known: dict[str, Path], kind: str, where: str = "") -> Path:
    if name not in known:
        raise ConfigError(where + _unknown(kind, name, known))
    return known[name]


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    return f"unknown {kind} '{name}' ({nearest(name, known)})"


def _describe(path: Path) -> TaskInfo:
    data = read_yaml(path)
    return TaskInfo(path.stem, str(data.get("description", "")), str(data.get("goal", "")), path)
