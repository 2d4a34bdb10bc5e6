"""The seam every property calculation fits.

An evaluator says what it computes (name, unit, bounds, cost, source) and gives one result per structure: a mapping
property -> value, or a Failure. Check your own with :func:`matinvent.testing.evaluators.check_evaluator`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from matinvent.errors import Failure

if TYPE_CHECKING:
    from pymatgen.core import Structure

Values = Mapping[str, float]
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
    """

    name: str
    unit: str
    description: str
    bounds: tuple[float, float]
    cost: Cost
    source: str
    needs: tuple[Need, ...] = ()
    uncertainty: str = ""

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
        in its place, never an exception, and never a made-up number.
        """
        ...


def evaluate_each(
    function: Callable[[Structure], Values | Failure], structures: Sequence[Structure]
) -> list[Values | Failure]:
    """Apply a function of one crystal to each; an exception becomes the failure of that crystal."""
    return [_guarded(function, structure) for structure in structures]


def _guarded(function: Callable[[Structure], Values | Failure], structure: Structure) -> Values | Failure:
    try:
        return function(structure)
    except Exception as error:  # noqa: BLE001 - whatever a calculation raises concerns this crystal only
        return Failure("error", f"{type(error).__name__}: {error}")
