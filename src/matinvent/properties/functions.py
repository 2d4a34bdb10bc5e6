"""A Python function of a structure as a property: the shortest way to one of your own.

    def density_per_electron(structure):
        return structure.density / structure.composition.total_electrons

Any function that takes a pymatgen structure and returns a number will do; :func:`crystal_property` adds what is known
of it. See docs/own_properties.md.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from matinvent.errors import ConfigError, Failure
from matinvent.plugins import source_file
from matinvent.properties.evaluator import Cost, Need, PropertyInfo, Values, evaluate_each, plausible

if TYPE_CHECKING:
    from pymatgen.core import Structure

F = TypeVar("F", bound=Callable[..., Any])

#: Unit of a property whose function does not state one.
UNSTATED = "?"

_MARK = "__matinvent_property__"
_UNLIMITED = (-math.inf, math.inf)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def crystal_property(
    *,
    unit: str = UNSTATED,
    bounds: tuple[float, float] = _UNLIMITED,
    description: str = "",
    cost: Cost = "instant",
    source: str = "",
    needs: tuple[Need, ...] = (),
    name: str = "",
    extensive: bool = False,
) -> Callable[[F], F]:
    """Declare what a function of a structure computes; the function stays what it is.

    Args:
        unit: e.g. ``GPa``; ``1`` for dimensionless.
        bounds: smallest and largest value that can be right; others are failures.
        description: one sentence; the first of the docstring unless given.
        cost: order of magnitude of one evaluation on one core.
        source: paper or data that the values rest on.
        needs: see :class:`~matinvent.properties.evaluator.PropertyInfo`.
        name: the function's unless given.
        extensive: the value doubles with the cell.

    Raises:
        ValueError: the name is no identifier, or the bounds are not a lower and a larger upper one.
    """

    def mark(function: F) -> F:
        called = name or getattr(function, "__name__", type(function).__name__)
        text = description or _first_sentence(function) or called
        limits = (float(bounds[0]), float(bounds[1]))
        origin = source or f"function {called}"
        info = PropertyInfo(called, unit, text, limits, cost, origin, tuple(needs), extensive=extensive)
        setattr(function, _MARK, info)
        return function

    return mark


def is_property_function(target: Callable[..., Any], params: Mapping[str, Any]) -> bool:
    """Whether a callable is a function of a structure, and no factory of evaluators.

    It is if it says so (:func:`crystal_property`), or if it is no class and the ``params`` leave exactly its first
    parameter open: that is the structure. A factory is complete with its params.
    """
    if hasattr(target, _MARK):
        return True
    if isinstance(_unwrapped(target), type):
        return False
    parameters = list(inspect.signature(target).parameters.values())
    unfilled = [parameter for parameter in parameters if _required(parameter) and parameter.name not in params]
    return len(unfilled) == 1 and unfilled == parameters[:1] and unfilled[0].kind in _POSITIONAL


class FunctionEvaluator:
    """An evaluator around a function of a structure.

    The function gets a copy of each structure. What it raises, and whatever it returns that is no finite number within
    the bounds, is a Failure. The version is a digest of the file that it stands in, so that an edit invalidates
    cached results; of what that file imports, nothing is known.

    Args:
        function: takes a structure, returns a number or a Failure.
        params: further arguments, as keywords.
        name: ``module:function`` or ``file.py:function``.

    Raises:
        ConfigError: the function does not take these parameters, or has no source file.
    """

    def __init__(self, function: Callable[..., Any], params: Mapping[str, Any], name: str) -> None:
        signature = inspect.signature(function)
        try:
            signature.bind(None, **params)
        except TypeError as error:
            accepted = ", ".join(list(signature.parameters)[1:]) or "none"
            raise ConfigError(f"property '{name}': params {dict(params)}: {error} (accepted: {accepted})") from None
        self._function = function
        self.params: Mapping[str, Any] = dict(params)
        self.version = _digest(function, name)
        self.properties = (_declaration(function, name),)

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """One value per structure."""
        return evaluate_each(self._evaluate, structures)

    def _evaluate(self, structure: Structure) -> Values | Failure:
        (info,) = self.properties
        value = self._function(structure.copy(), **self.params)
        if isinstance(value, Failure):
            return value
        if value is None:
            return Failure("missing-property", "the function returned None")
        number = plausible(value, info)
        return number if isinstance(number, Failure) else {info.name: number}


def _declaration(function: Callable[..., Any], name: str) -> PropertyInfo:
    """What the function declares, or what can be told of it."""
    declared: PropertyInfo | None = getattr(function, _MARK, None)
    if declared is not None:
        return declared
    called = name.rpartition(":")[2]
    try:
        return PropertyInfo(called, UNSTATED, _first_sentence(function) or called, _UNLIMITED, "instant", name)
    except ValueError as error:
        raise ConfigError(f"property '{name}': {error}") from None


def _digest(function: Callable[..., Any], name: str) -> str:
    """Identity of the files that the function is named in and defined in."""
    target = inspect.unwrap(_unwrapped(function))
    defined = getattr(sys.modules.get(target.__module__), "__file__", None)
    files = {file for file in (source_file(name), Path(defined) if defined else None) if file is not None}
    if not files:
        raise ConfigError(
            f"property '{name}': has no source file to know its version by; wrap it in a function of yours"
        )
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _unwrapped(target: Callable[..., Any]) -> Any:
    while isinstance(target, functools.partial):
        target = target.func
    return target


def _required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return parameter.default is parameter.empty and not variadic


def _first_sentence(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(_unwrapped(function)) or "").partition("\n")[0].strip()
