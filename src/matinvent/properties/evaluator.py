"""The seam every property calculation fits.

An evaluator says what it computes (name, unit, bounds, cost, source) and gives one result per structure: a mapping
property -> value, or a Failure. Check your own with :func:`matinvent.testing.evaluators.check_evaluator`.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.relaxation import read_crystal

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Values of the properties of one crystal; where one of several cannot be had, a Failure stands in its place.
Values = Mapping[str, float | Failure]
Cost = Literal["instant", "seconds", "minutes", "hours"]
Need = Literal["relaxed structure", "potential", "labels", "program"]


@dataclass(frozen=True, slots=True)
class PropertyInfo:
    """A property as its evaluator declares it.

    Attributes:
        name: letters, digits and underscores.
        unit: e.g. ``g/cm^3``; ``1`` for dimensionless.
        description: one sentence.
        bounds: smallest and largest value that can be right; others are failures.
        cost: order of magnitude of one evaluation on one core.
        source: paper or data that the values rest on.
        needs: what the value depends on beside the composition: a structure relaxed by the ``potential``, the potential
            itself, ``labels`` that a model was trained on, an external ``program``.
        uncertainty: name of another property of the same evaluator, the standard deviation of this one in the same
            unit; empty where there is none. It comes along whenever this property is asked for.
        extensive: the value is that of the cell as it is written and doubles with it. A goal should not be: it depends
            on the choice of cell.
    """

    name: str
    unit: str
    description: str
    bounds: tuple[float, float]
    cost: Cost
    source: str
    needs: tuple[Need, ...] = ()
    uncertainty: str = ""
    extensive: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise ValueError(f"property name {self.name!r}: use letters, digits and underscores, a letter first")
        lower, upper = self.bounds
        if not lower < upper:
            raise ValueError(f"property {self.name}: bounds {self.bounds} must be a lower and a larger upper one")


class Evaluator(Protocol):
    """Computes one or more properties of crystals.

    ``version`` and ``params`` identify the results: whatever changes a value must change one of them. ``params``
    holds JSON values. In worker processes and threads one instance is made per worker and shared by threads.
    """

    @property
    def properties(self) -> tuple[PropertyInfo, ...]:
        """What :meth:`evaluate` gives for each structure."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same input may give another value."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """The settings in use, defaults included."""
        ...

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """One result per structure, in order; the structures stay as they are.

        A mapping holds every declared property, in its unit. What goes wrong with one crystal is a Failure
        in its place (or in that of one of its properties), never an exception, and never a made-up number. So is a
        crystal with disordered sites or coordinates that are no numbers.
        """
        ...


def evaluate_each(
    function: Callable[[Structure], Values | Failure], structures: Sequence[Structure]
) -> list[Values | Failure]:
    """Apply a function of one crystal to each; an exception becomes the failure of that crystal.

    The function is spared what is no crystal at all (see :func:`structure_defect`).
    """
    return [structure_defect(structure) or _guarded(function, structure) for structure in structures]


def structure_defect(structure: Structure) -> Failure | None:
    """Why no property can be had of a structure, or None.

    Kinds: ``disordered`` and ``unknown-element`` (not made of whole atoms of elements), ``empty``, ``not-finite``.
    """
    crystal = read_crystal(structure)
    if isinstance(crystal, Failure):
        return crystal
    if len(crystal) == 0:
        return Failure("empty", "the crystal has no atoms")
    if not (np.isfinite(crystal.lattice).all() and np.isfinite(crystal.frac).all()):
        return Failure("not-finite", "the lattice or a coordinate is not a finite number")
    return None


def plausible(value: object, info: PropertyInfo, name: str = "") -> float | Failure:
    """A value as a float if it is a finite number within the property's bounds; a Failure stays one.

    Args:
        value: what a calculation gave.
        info: what the property declares.
        name: what a Failure calls the property, unless by its own name.
    """
    name = name or info.name
    if isinstance(value, Failure):
        return Failure(value.kind, f"{name}: {value.reason}")
    if value is None:
        return Failure("missing-property", f"{name}: the evaluator gave no {info.name}")
    if isinstance(value, bool) or not isinstance(value, int | float | numbers.Real):
        return Failure("not-a-number", f"{name}: got {type(value).__name__} instead of a number")
    try:
        number = float(value)
    except OverflowError:  # an integer may have more digits than any float
        number = math.inf
    if not math.isfinite(number):
        return Failure("not-finite", f"{name} is {number}")
    lower, upper = info.bounds
    if not lower <= number <= upper:
        return Failure("out-of-bounds", f"{name} is {number:g} {info.unit}, outside {lower:g} .. {upper:g}")
    return number


def _guarded(function: Callable[[Structure], Values | Failure], structure: Structure) -> Values | Failure:
    try:
        return function(structure)
    except Exception as error:  # noqa: BLE001 - whatever a calculation raises concerns this crystal only
        return Failure("error", f"{type(error).__name__}: {error}")
