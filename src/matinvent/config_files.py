"""Campaign files: YAML in, one clear message per fault out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import ValidationError

from matinvent.config import CampaignConfig
from matinvent.config_goals import Section
from matinvent.errors import ConfigError
from matinvent.suggestions import nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


#: What pydantic calls by its Python name.
_EXPECTED = {"tuple_type": "should be a list", "model_type": "should be a mapping of settings"}


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> CampaignConfig:
    """Read a campaign from a YAML file and apply ``a.b=c`` overrides.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    return build_config(read_yaml(Path(source)), overrides, origin=str(source))


def build_config(data: dict[str, Any], overrides: Sequence[str] = (), origin: str = "configuration") -> CampaignConfig:
    """Validate a mapping after applying ``a.b=c`` overrides (see :func:`load_config`)."""
    for override in overrides:
        data = apply_override(data, override)
    try:
        config = CampaignConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, origin)) from None
    if config.stages and any(override.partition("=")[0].strip() == "iterations" for override in overrides):
        raise ConfigError("--set iterations: the stages have iterations of their own; set stages.0.iterations, ...")
    return config


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, with our own error for whatever is wrong with the file."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if data is None:
        raise ConfigError(f"{path}: the file is empty")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(data).__name__}")
    return data


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML in which a key that is given twice is an error: the former value would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            raise yaml.MarkedYAMLError(problem=f"'{repeated}' is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def apply_override(data: dict[str, Any], override: str) -> dict[str, Any]:
    """Return a copy of ``data`` with one ``a.b.0.c=value`` applied; the value is parsed as YAML."""
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set {override}: expected KEY=VALUE, e.g. --set learning.sigma=0.05")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from None
    result: dict[str, Any] = _assign(data, keys, value, override)
    return result


def _assign(node: Any, keys: list[str], value: Any, override: str) -> Any:
    """Copy ``node`` with the value at the end of ``keys`` replaced."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise ConfigError(f"--set {override}: '{key}' is not an index of a list of {len(node)}")
        items = list(node)
        items[int(key)] = _assign(items[int(key)], rest, value, override)
        return items
    if node is not None and not isinstance(node, dict):
        raise ConfigError(f"--set {override}: '{key}' cannot be set inside the value {node!r}")
    node = node or {}
    if key.isdigit():
        raise ConfigError(f"--set {override}: there is no list that has an entry {key}")
    return {**node, key: _assign(node.get(key), rest, value, override)}


def explain(error: ValidationError, origin: str) -> str:
    """One line per fault: where, what was given, what is expected, and the nearest known key."""
    lines = []
    faults = error.errors()
    for fault in faults:
        if any(_lies_below(other["loc"], fault["loc"]) for other in faults):
            continue  # a container's complaint that only follows from a fault inside it
        where = ".".join(str(part) for part in fault["loc"]) or "(top level)"
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown key '{where}'{_suggest(fault['loc'])}")
        elif fault["type"] == "missing":
            lines.append(f"'{where}' is required")
        else:
            message = _EXPECTED.get(fault["type"], fault["msg"].removeprefix("Value error, "))
            given = "" if isinstance(fault["input"], dict | list) else f" (given: {fault['input']!r}{_hint(fault)})"
            lines.append(f"'{where}': {message}{given}")
    return f"{origin}: " + "; ".join(lines)


def _hint(fault: ErrorDetails) -> str:
    """What to know of YAML where a word became something else: nobelium, for one."""
    truth = fault["type"] == "string_type" and isinstance(fault["input"], bool)
    return "; YAML takes No, Yes, On and Off for truth values: quote them" if truth else ""


def _lies_below(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _suggest(location: tuple[int | str, ...]) -> str:
    """Name the closest known key beside a misspelt one."""
    model: type[Section] = CampaignConfig
    for part in location[:-1]:
        if isinstance(part, str):
            model = _section(model.model_fields[part].annotation) or model
    known = [field.alias or name for name, field in model.model_fields.items()]
    return f" ({nearest(str(location[-1]), sorted(known))})"


def _section(annotation: Any) -> type[Section] | None:
    """The kind of section that a field holds, be it one, a list of them, or none at all."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section, get_args(annotation))), None)


def file_schema() -> dict[str, Any]:
    """JSON schema of a campaign file, which may build on a shipped task and leave out what that one has."""
    schema = CampaignConfig.model_json_schema()
    base = {"type": "string", "description": "A shipped task, see `matinvent tasks`; the file says what differs."}
    schema["properties"] = {"base": base, **schema["properties"]}
    del schema["required"]
    parts = schema["$defs"]
    parts["ObjectiveConfig"]["required"].remove("lo")  # 0 for targets and ranges
    crystals = parts["StartConfig"]["properties"]["crystals"]
    crystals["anyOf"] = [{"type": "string"}, {"type": crystals.pop("type"), "items": crystals.pop("items")}]
    return schema
