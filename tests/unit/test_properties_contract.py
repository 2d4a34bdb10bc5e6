"""The public contract check finds every kind of broken evaluator."""

from __future__ import annotations

import math
from types import MappingProxyType

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.errors import EvaluationError, Failure
from matinvent.properties.evaluator import PropertyInfo, evaluate_each
from matinvent.testing.evaluators import check_evaluator

INFO = PropertyInfo("edge", "A", "First cell edge.", (0.0, 100.0), "instant", "definition")
CRYSTALS = [Structure(Lattice.cubic(a), ["Fe"], [[0, 0, 0]]) for a in (2.0, 3.0, 4.0)]


class Edge:
    """A sound evaluator: fails on anything but iron."""

    properties = (INFO,)
    version = "1"
    params = MappingProxyType({"scale": 1.0})

    def one(self, structure):
        if structure.composition.reduced_formula != "Fe":
            return Failure("not-iron", "iron only")
        return {"edge": structure.lattice.a}

    def evaluate(self, structures):
        return evaluate_each(self.one, structures)


def test_a_sound_evaluator_passes():
    check_evaluator(Edge(), CRYSTALS)


class NoProperties(Edge):
    properties = ()


class Twice(Edge):
    properties = (INFO, INFO)


class NoVersion(Edge):
    version = ""


class NoSource(Edge):
    properties = (PropertyInfo("edge", "A", "First cell edge.", (0.0, 100.0), "instant", ""),)


class OddParams(Edge):
    params = MappingProxyType({"model": object()})


class Drops(Edge):
    def evaluate(self, structures):
        return [r for r in super().evaluate(structures) if not isinstance(r, Failure)]


class Sorts(Edge):
    def evaluate(self, structures):
        results = super().evaluate(structures)
        if any(isinstance(r, Failure) for r in results):
            return results
        return sorted(results, key=lambda r: r["edge"])


class Raises(Edge):
    def evaluate(self, structures):
        return [self.one(s) if s.composition.reduced_formula == "Fe" else 1 / 0 for s in structures]


class RaisesOnNothing(Edge):
    def evaluate(self, structures):
        return super().evaluate(structures) if structures[0] else []


class Undeclared(Edge):
    def one(self, structure):
        return {"edge": 1.0, "volume": 1.0}


class Missing(Edge):
    def one(self, structure):
        return {}


class NotANumber(Edge):
    def one(self, structure):
        return {"edge": "3.0"}


class Truth(Edge):
    def one(self, structure):
        return {"edge": True}


class Infinite(Edge):
    def one(self, structure):
        return {"edge": math.inf}


class OutOfBounds(Edge):
    def one(self, structure):
        return {"edge": -1.0}


class Bare(Edge):
    def one(self, structure):
        return 3.0


class Generator(Edge):
    def evaluate(self, structures):
        return iter(super().evaluate(structures))


class Forgetful(Edge):
    calls = 0

    def one(self, structure):
        Forgetful.calls += 1
        return {"edge": 1.0 + Forgetful.calls / 100}


class BatchMean(Edge):
    def evaluate(self, structures):
        edges = [s.lattice.a for s in structures]
        return [{"edge": sum(edges) / len(edges)} for _ in edges]


class Vandal(Edge):
    def one(self, structure):
        edge = structure.lattice.a
        structure.scale_lattice(1.0)
        return {"edge": edge}


class Hopeless(Edge):
    def one(self, structure):
        return Failure("no", "never works")


class EmptyFailure(Edge):
    def one(self, structure):
        return Failure("", "")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (NoProperties, "non-empty tuple"),
        (Twice, "twice"),
        (NoVersion, "version"),
        (NoSource, "source"),
        (OddParams, "params"),
        (Drops, "results for"),
        (Sorts, "another order"),
        (Raises, "raises on awkward"),
        (RaisesOnNothing, "raises on no structures"),
        (Undeclared, "declared are"),
        (Missing, "declared are"),
        (NotANumber, "not a real number"),
        (Truth, "not a real number"),
        (Infinite, "Failure instead"),
        (OutOfBounds, "outside its bounds"),
        (Bare, "not a mapping"),
        (Generator, "must return a list"),
        (Forgetful, "second call"),
        (BatchMean, "on its own"),
        (Vandal, "changes its input"),
        (Hopeless, "every structure failed"),
        (EmptyFailure, "kind and a reason"),
    ],
)
def test_every_broken_promise_is_found(broken, message):
    crystals = [crystal.copy() for crystal in CRYSTALS]
    with pytest.raises(EvaluationError, match=message):
        check_evaluator(broken(), crystals)


def test_one_structure_is_too_few():
    with pytest.raises(EvaluationError, match="two"):
        check_evaluator(Edge(), CRYSTALS[:1])


@pytest.mark.parametrize(
    ("name", "bounds"), [("2d", (0, 1)), ("a b", (0, 1)), ("", (0, 1)), ("x", (1, 0)), ("x", (0, math.nan))]
)
def test_declarations_that_cannot_be(name, bounds):
    with pytest.raises(ValueError, match="property"):
        PropertyInfo(name, "1", "Text.", bounds, "instant", "me")
