"""The public contract check finds every kind of broken evaluator."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from matinvent.errors import ConfigError, EvaluationError, Failure
from matinvent.properties.evaluator import PropertyInfo, evaluate_each
from matinvent.testing import REWRITINGS, check_evaluator, check_property
from matinvent.testing.invariances import permuted

INFO = PropertyInfo("edge", "A", "Edge of a cube for an atom.", (0.0, 100.0), "instant", "definition")
CRYSTALS = [Structure(Lattice.cubic(a), ["Fe"], [[0, 0, 0]]) for a in (2.0, 3.0, 4.0)]


class Edge:
    """A sound evaluator: fails on anything but iron."""

    properties = (INFO,)
    version = "1"
    params = MappingProxyType({"scale": 1.0})

    def one(self, structure):
        if structure.composition.reduced_formula != "Fe":
            return Failure("not-iron", "iron only")
        return {"edge": (structure.volume / len(structure)) ** (1 / 3)}

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


class Vacant(Edge):
    """Counts half an atom as one."""

    def evaluate(self, structures):
        return [self.one(s) if s.composition.elements[0].symbol == "Fe" else Failure("no", "no") for s in structures]


class Mixes(Vacant):
    def one(self, structure):
        return {"edge": 3.0}


class Lost(Edge):
    """Looks at the cell only, so it does not notice that an atom is nowhere."""

    def evaluate(self, structures):
        return [self.one(s) if s.is_ordered else Failure("disordered", "no") for s in structures]

    def one(self, structure):
        return {"edge": structure.volume ** (1 / 3) if structure.is_ordered else 0.0}


class Upright(Edge):
    """Reads the first vector's length along x."""

    def one(self, structure):
        return {"edge": abs(structure.lattice.matrix[0, 0])}


class FirstAtom(Edge):
    def one(self, structure):
        return {"edge": structure[0].specie.Z / 2}


class Origin(Edge):
    def one(self, structure):
        return {"edge": float(structure.frac_coords.sum())}


class AsWritten(Edge):
    def one(self, structure):
        return {"edge": sum(structure.lattice.abc) / len(structure)}


class Total(Edge):
    properties = (replace(INFO, bounds=(0.0, 1e6)),)

    def one(self, structure):
        return {"edge": structure.volume}


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
        (Mixes, "shared by two elements got"),
        (Lost, "coordinate that is no number got"),
        (Upright, "depends on rotation"),
        (Origin, "depends on translation"),
        (AsWritten, "depends on cell"),
        (Total, "depends on supercell"),
    ],
)
def test_every_broken_promise_is_found(broken, message):
    crystals = [crystal.copy() for crystal in CRYSTALS]
    with pytest.raises(EvaluationError, match=message):
        check_evaluator(broken(), crystals)


def test_the_order_of_atoms_must_not_matter():
    salt = [Structure(Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]) for a in (3.0, 4.0)]
    assert permuted(salt[0])[0].specie != salt[0][0].specie
    with pytest.raises(EvaluationError, match="depends on permutation"):
        check_evaluator(FirstAtom(), salt)


def test_invariances_can_be_chosen():
    check_evaluator(Total(), CRYSTALS, invariances=("rotation", "translation", "permutation", "cell"))
    with pytest.raises(EvaluationError, match="mirror is none of rotation"):
        check_evaluator(Edge(), CRYSTALS, invariances=("mirror",))


def test_what_takes_minutes_is_not_rewritten_unless_asked_for():
    class Dear(Total):
        properties = (replace(Total.properties[0], cost="minutes"),)

    check_evaluator(Dear(), CRYSTALS)
    with pytest.raises(EvaluationError, match="depends on supercell"):
        check_evaluator(Dear(), CRYSTALS, invariances=("supercell",))


def test_extensive_properties_must_double():
    class Volume(Total):
        properties = (replace(Total.properties[0], extensive=True),)

    class PerAtom(Edge):
        properties = (replace(INFO, extensive=True),)

    check_evaluator(Volume(), CRYSTALS)
    with pytest.raises(EvaluationError, match="depends on supercell"):
        check_evaluator(PerAtom(), CRYSTALS)


def test_a_property_among_several_may_fail():
    class Partial(Edge):
        properties = (INFO, replace(INFO, name="other"))

        def one(self, structure):
            return {**super().one(structure), "other": Failure("no", "never known")}

    check_evaluator(Partial(), CRYSTALS)


def test_all_rewritings_are_the_same_crystal():
    salt = Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    matcher = StructureMatcher(ltol=1e-4, stol=1e-4, angle_tol=1e-3, scale=False)
    for rewrite in REWRITINGS.values():
        other = rewrite(salt)
        assert matcher.fit(salt, other)
        assert other.as_dict() != salt.as_dict()


def test_properties_are_checked_by_name():
    check_property("density", CRYSTALS)
    check_property("tests.unit.test_properties_contract:Scaled", CRYSTALS, {"scale": 2.0})
    with pytest.raises(ConfigError, match="did you mean 'density"):
        check_property("densty", CRYSTALS)


class Scaled(Edge):
    def __init__(self, scale):
        self.params = {"scale": scale}


def test_one_structure_is_too_few():
    with pytest.raises(EvaluationError, match="two"):
        check_evaluator(Edge(), CRYSTALS[:1])


@pytest.mark.parametrize(
    ("name", "bounds"), [("2d", (0, 1)), ("a b", (0, 1)), ("", (0, 1)), ("x", (1, 0)), ("x", (0, math.nan))]
)
def test_declarations_that_cannot_be(name, bounds):
    with pytest.raises(ValueError, match="property"):
        PropertyInfo(name, "1", "Text.", bounds, "instant", "me")
