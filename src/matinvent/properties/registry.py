"""Which evaluator computes which property: shipped ones, plug-ins, and a user's own function.

A plug-in registers an entry point of the group ``matinvent.properties``: its name is the property, its value a factory
``module:function`` that takes the objective's ``params`` as keywords and returns an evaluator. Without packaging, the
name of the factory itself serves as the property; its evaluator then declares exactly one.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, cast

from matinvent.errors import ConfigError, MatInventError
from matinvent.plugins import load_callable
from matinvent.properties.evaluator import Evaluator, PropertyInfo

GROUP = "matinvent.properties"

#: Shipped properties -> the factory of their evaluator.
_SHIPPED = {
    "energy_above_hull": "matinvent.properties.energetics:Energetics",
    "formation_energy": "matinvent.properties.energetics:Energetics",
    "magnetic_density": "matinvent.properties.magnetism:MagneticDensity",
    "bulk_modulus": "matinvent.properties.elasticity:BulkModulus",
    "density": "matinvent.properties.geometry:Density",
    "hhi": "matinvent.properties.composition:HerfindahlHirschman",
    "hhi_production": "matinvent.properties.composition:HerfindahlHirschman",
}


def create(name: str, params: Mapping[str, Any]) -> Evaluator:
    """Make the evaluator of a property.

    Args:
        name: a shipped property, a plug-in's, or ``module:function``.
        params: keyword arguments of the factory.

    Raises:
        ConfigError: the property is unknown (the nearest names are given), its factory cannot be imported, it does
            not take these parameters, or what it returns does not compute the property.
    """
    factory = load_callable(resolve(name), f"property '{name}'")
    _check_params(name, factory, params)
    try:
        evaluator = factory(**params)
    except MatInventError:
        raise
    except Exception as error:
        raise ConfigError(f"property '{name}' with params {dict(params)}: {type(error).__name__}: {error}") from error
    missing = [part for part in ("properties", "version", "params", "evaluate") if not hasattr(evaluator, part)]
    if missing:
        raise ConfigError(
            f"property '{name}': {type(evaluator).__name__} is no evaluator, it lacks {', '.join(missing)}"
        )
    declared(name, evaluator)
    return cast("Evaluator", evaluator)


def resolve(name: str) -> str:
    """The factory ``module:function`` of a property; equal for properties computed by one evaluator.

    Raises:
        ConfigError: there is no such property.
    """
    if ":" in name:
        return name
    known = {**_plugins(), **_SHIPPED}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
        raise ConfigError(f"property '{name}' is unknown; {hint} Your own: 'module:function'")
    return known[name]


def declared(name: str, evaluator: Evaluator) -> PropertyInfo:
    """What an evaluator declares about the property that was asked for as ``name``.

    Raises:
        ConfigError: it does not compute that property, or ``module:function`` leaves open which.
    """
    companions = {info.uncertainty for info in evaluator.properties}
    infos = {info.name: info for info in evaluator.properties if info.name not in companions}
    if ":" in name:
        if len(infos) != 1:
            raise ConfigError(
                f"property '{name}': the evaluator declares {', '.join(infos) or 'nothing'}; one property is needed, "
                f"or register each as an entry point of the group '{GROUP}'"
            )
        return next(iter(infos.values()))
    if name not in infos:
        raise ConfigError(f"property '{name}': its evaluator computes {', '.join(infos) or 'nothing'} instead")
    return infos[name]


def companion(info: PropertyInfo, evaluator: Evaluator) -> PropertyInfo | None:
    """What an evaluator declares about the uncertainty of one of its properties; None where there is none."""
    return next((other for other in evaluator.properties if other.name == info.uncertainty), None)


def describe() -> list[PropertyInfo]:
    """All shipped and plugged-in properties by name; a plug-in that does not load says why in its description."""
    known = {**_plugins(), **_SHIPPED}
    return [_describe(name) for name in sorted(known)]


def _describe(name: str) -> PropertyInfo:
    """A class that declares its properties is asked without making an instance, which may load a model."""
    try:
        factory = load_callable(resolve(name), f"property '{name}'")
        declares = isinstance(getattr(factory, "properties", None), tuple)
        return declared(name, cast("Evaluator", factory) if declares else create(name, {}))
    except MatInventError as error:
        return PropertyInfo(name, "?", f"cannot be loaded: {error}", (float("-inf"), float("inf")), "instant", "")


def _plugins() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)}


def _check_params(name: str, factory: Callable[..., Any], params: Mapping[str, Any]) -> None:
    """Refuse parameters that the factory does not name, before it is called."""
    signature = inspect.signature(factory)
    try:
        signature.bind(**params)
    except TypeError as error:
        accepted = ", ".join(signature.parameters) or "none"
        raise ConfigError(f"property '{name}': params {dict(params)}: {error} (accepted: {accepted})") from None
