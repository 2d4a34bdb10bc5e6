"""Contract checks for properties: run them in the tests of your own."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matinvent.errors import EvaluationError, Failure
from matinvent.properties.evaluator import Evaluator, PropertyInfo, Values
from matinvent.properties.registry import create
from matinvent.testing.invariances import REWRITINGS

if TYPE_CHECKING:
    from pymatgen.core import Structure

Results = list[Values | Failure]

#: Differences of values smaller than this are none.
_ATOL = 1e-6


def check_property(
    name: str,
    structures: Sequence[Structure],
    params: Mapping[str, Any] = MappingProxyType({}),
    rtol: float = 1e-4,
    invariances: Collection[str] | None = None,
    invariance_rtol: float = 1e-2,
) -> None:
    """As :func:`check_evaluator`, for a property by its name, as on the command line and in campaign files.

    Args:
        name: a shipped or plugged-in property, ``module:function``, ``file.py:function`` or ``program:NAME``.
        structures: see :func:`check_evaluator`.
        params: its parameters.
        rtol: see :func:`check_evaluator`.
        invariances: see :func:`check_evaluator`.
        invariance_rtol: see :func:`check_evaluator`.

    Raises:
        ConfigError: there is no such property, or the parameters do not fit.
        EvaluationError: a promise is broken; the message says which.
    """
    check_evaluator(create(name, params), structures, rtol, invariances, invariance_rtol)


def check_evaluator(
    evaluator: Evaluator,
    structures: Sequence[Structure],
    rtol: float = 1e-4,
    invariances: Collection[str] | None = None,
    invariance_rtol: float = 1e-2,
) -> None:
    """Check that an evaluator keeps the promises of :class:`matinvent.properties.evaluator.Evaluator`.

    It declares itself completely; gives one result per structure, in order; gives every declared property as a
    finite number within its bounds, or a Failure; gives the same again; does not depend on what else is in the
    batch; leaves its input as it is; survives crystals it can make nothing of; gives no number for disordered crystals
    and coordinates that are none; and does not depend on how a crystal is written down.

    Args:
        evaluator: what to check.
        structures: at least two different crystals, at least one of which can be evaluated.
        rtol: largest relative difference between results of one crystal in different batches.
        invariances: changes of the cell that must not matter, of :data:`matinvent.testing.REWRITINGS`: ``rotation``,
            ``translation``, ``permutation`` (of atoms), ``cell`` (another one of equal volume), ``supercell`` (in which
            properties declared extensive must double). None for all, or none of them where a property takes minutes.
        invariance_rtol: largest relative difference between results of one crystal written in different ways.

    Raises:
        EvaluationError: a promise is broken; the message says which.
    """
    if len(structures) < 2:
        raise EvaluationError("check_evaluator needs at least two structures")
    _check_declaration(evaluator)
    before = [structure.as_dict() for structure in structures]
    results = _run(evaluator, structures, "the structures")
    _demand([structure.as_dict() for structure in structures] == before, "evaluate() changes its input structures")
    for number, result in enumerate(results):
        _check_result(result, evaluator.properties, f"structure {number}")
    _demand(any(isinstance(r, Mapping) for r in results), f"every structure failed, e.g. {results[0]}")
    _check_repeatable(evaluator, structures, results, rtol)
    _check_survival(evaluator, structures, results, rtol)
    crystal, values = _most_telling(structures, results)
    _check_rejection(evaluator, crystal)
    if invariances is None:
        cheap = all(info.cost in {"instant", "seconds"} for info in evaluator.properties)
        invariances = REWRITINGS if cheap else ()
    _check_invariances(evaluator, crystal, values, invariances, invariance_rtol)


def _check_declaration(evaluator: Evaluator) -> None:
    infos = evaluator.properties
    _demand(
        isinstance(infos, tuple) and len(infos) > 0 and all(isinstance(info, PropertyInfo) for info in infos),
        "'properties' must be a non-empty tuple of PropertyInfo",
    )
    _demand(len({info.name for info in infos}) == len(infos), "'properties' declares a name twice")
    for info in infos:
        _demand(all([info.unit, info.description, info.source]), f"{info.name}: unit, description or source is empty")
        _check_uncertainty(info, {other.name: other for other in infos})
    _demand(isinstance(evaluator.version, str) and bool(evaluator.version), "'version' must be a non-empty string")
    try:
        json.dumps(dict(evaluator.params), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"'params' must be a mapping of JSON values: {error}") from None


def _check_uncertainty(info: PropertyInfo, declared: Mapping[str, PropertyInfo]) -> None:
    """The standard deviation of a property is declared too, in its unit and never negative."""
    if not info.uncertainty:
        return
    spread = declared.get(info.uncertainty)
    if spread is None:
        raise EvaluationError(f"{info.name}: its uncertainty '{info.uncertainty}' is not declared")
    _demand(spread.unit == info.unit, f"{spread.name}: its unit is {spread.unit}, not {info.unit} as of {info.name}")
    _demand(spread.bounds[0] >= 0, f"{spread.name}: its bounds {spread.bounds} admit a negative uncertainty")


def _check_result(result: object, infos: Sequence[PropertyInfo], where: str) -> None:
    if isinstance(result, Failure):
        _demand(bool(result.kind) and bool(result.reason), f"{where}: a Failure needs a kind and a reason")
        return
    _demand(isinstance(result, Mapping), f"{where}: got {type(result).__name__}, not a mapping or a Failure")
    assert isinstance(result, Mapping)
    names = {info.name for info in infos}
    _demand(result.keys() == names, f"{where}: got {sorted(result)}, declared are {sorted(names)}")
    for info in infos:
        _check_value(result[info.name], info, where)


def _check_value(value: object, info: PropertyInfo, where: str) -> None:
    if isinstance(value, Failure):
        _check_result(value, (info,), f"{where}: {info.name}")
        return
    if isinstance(value, bool) or not isinstance(value, int | float | numbers.Real):
        raise EvaluationError(f"{where}: {info.name} is a {type(value).__name__}, not a real number")
    value = float(value)
    _demand(math.isfinite(value), f"{where}: {info.name} is {value}; return a Failure instead")
    lower, upper = info.bounds
    _demand(lower <= value <= upper, f"{where}: {info.name} is {value}, outside its bounds {info.bounds}")


def _check_repeatable(evaluator: Evaluator, structures: Sequence[Structure], results: Results, rtol: float) -> None:
    """The same again exactly; in another order, alone and in no company up to rounding."""
    again = _run(evaluator, structures, "the structures again")
    _demand(all(_same(a, b, 0.0) for a, b in zip(results, again, strict=True)), "a second call gives other results")
    reverse = _run(evaluator, structures[::-1], "the structures in reverse")[::-1]
    for number, (one, other) in enumerate(zip(results, reverse, strict=True)):
        _demand(_same(one, other, rtol), f"structure {number}: {one} became {other} in another order")
    (alone,) = _run(evaluator, structures[:1], "one structure")
    _demand(_same(results[0], alone, rtol), f"structure 0: {results[0]} became {alone} on its own")
    _run(evaluator, [], "no structures")


def _check_survival(evaluator: Evaluator, structures: Sequence[Structure], results: Results, rtol: float) -> None:
    """Crystals that few methods can treat must not disturb their neighbours."""
    awkward = _awkward()
    mixed = [item for pair in zip(awkward, structures, strict=False) for item in pair]
    found = _run(evaluator, mixed, "awkward crystals among the structures")
    for number, result in enumerate(found[0::2]):
        _check_result(result, evaluator.properties, f"awkward crystal {awkward[number].formula}")
    for number, result in enumerate(found[1::2]):
        _demand(_same(results[number], result, rtol), f"structure {number}: another result beside an awkward crystal")


def _awkward() -> list[Structure]:
    """An atom far from any other, an element that hardly any data set has."""
    from pymatgen.core import Lattice, Structure

    return [
        Structure(Lattice.cubic(30.0), ["He"], [[0.0, 0.0, 0.0]]),
        Structure(Lattice.cubic(4.0), ["Lr", "Md"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
    ]


def _most_telling(structures: Sequence[Structure], results: Results) -> tuple[Structure, Values]:
    """Of those with values, a crystal with many elements and few atoms."""
    evaluated = [(s, r) for s, r in zip(structures, results, strict=True) if not isinstance(r, Failure)]
    return max(evaluated, key=lambda pair: (len(pair[0].composition), -len(pair[0])))


def _check_rejection(evaluator: Evaluator, crystal: Structure) -> None:
    """What is no crystal of whole atoms somewhere gets no number."""
    rejects = _rejects(crystal)
    results = _run(evaluator, list(rejects.values()), ", ".join(rejects))
    for what, result in zip(rejects, results, strict=True):
        _demand(isinstance(result, Failure), f"{what} got {result}; return a Failure instead")
        _check_result(result, evaluator.properties, what)


def _rejects(crystal: Structure) -> dict[str, Structure]:
    """A crystal that can be evaluated, spoilt."""
    mixed, vacant = crystal.copy(), crystal.copy()
    element = crystal[0].specie
    other = next((e for e in crystal.composition if e != element), "Si" if str(element) != "Si" else "Ge")
    mixed[0] = {element: 0.5, other: 0.5}
    vacant[0] = {element: 0.5}
    coords = crystal.frac_coords.copy()
    coords[-1, 0] = math.nan
    lost = type(crystal)(crystal.lattice, crystal.species, coords)
    return {
        "a crystal with a site shared by two elements": mixed,
        "a crystal with a half-occupied site": vacant,
        "a crystal with a coordinate that is no number": lost,
    }


def _check_invariances(
    evaluator: Evaluator, crystal: Structure, values: Values, names: Collection[str], rtol: float
) -> None:
    unknown = [name for name in names if name not in REWRITINGS]
    if unknown:
        raise EvaluationError(f"invariances: {', '.join(unknown)} is none of {', '.join(REWRITINGS)}")
    results = _run(evaluator, [REWRITINGS[name](crystal) for name in names], "a crystal written in other ways")
    for name, result in zip(names, results, strict=True):
        expected = _enlarged(evaluator, values, len(REWRITINGS[name](crystal)) / len(crystal))
        _demand(
            _same(expected, result, rtol, _ATOL),
            f"depends on {name}: {crystal.formula} has {values}, and {result} when it is written in another way",
        )


def _enlarged(evaluator: Evaluator, values: Values, factor: float) -> Values:
    """The values of a cell with more atoms: extensive ones grow with it."""
    extensive = {info.name for info in evaluator.properties if info.extensive}
    return {
        name: value if isinstance(value, Failure) or name not in extensive else value * factor
        for name, value in values.items()
    }


def _run(evaluator: Evaluator, structures: Sequence[Structure], what: str) -> Results:
    try:
        results = evaluator.evaluate(structures)
    except Exception as error:
        raise EvaluationError(f"evaluate() raises on {what}: {type(error).__name__}: {error}") from error
    _demand(isinstance(results, list), f"evaluate() must return a list, not a {type(results).__name__}")
    _demand(
        len(results) == len(structures), f"evaluate() gives {len(results)} results for {len(structures)} structures"
    )
    return results


def _same(one: Values | Failure, other: Values | Failure, rtol: float, atol: float | None = None) -> bool:
    if isinstance(one, Failure) or isinstance(other, Failure):
        return isinstance(one, Failure) and isinstance(other, Failure) and one.kind == other.kind
    if one.keys() != other.keys():
        return False
    return all(_close(one[name], other[name], rtol, rtol * 1e-3 if atol is None else atol) for name in one)


def _close(one: float | Failure, other: float | Failure, rtol: float, atol: float) -> bool:
    if isinstance(one, Failure) or isinstance(other, Failure):
        return isinstance(one, Failure) and isinstance(other, Failure) and one.kind == other.kind
    return math.isclose(one, other, rel_tol=rtol, abs_tol=atol)


def _demand(kept: bool, message: str) -> None:
    if not kept:
        raise EvaluationError(message)
