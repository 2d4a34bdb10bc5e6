"""The property service: parallel, cached, and only plausible numbers as results."""

from __future__ import annotations

import math
import os
import signal
from collections import Counter

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matinvent.config import EvaluationConfig
from matinvent.errors import ConfigError, Failure
from matinvent.execution.cache import ResultCache
from matinvent.properties.evaluator import PropertyInfo
from matinvent.properties.service import PropertyService

HERE = "tests.unit.test_properties_service"
CALLS: Counter[str] = Counter()


class Scripted:
    """Does what the crystal's element says."""

    properties = (PropertyInfo("edge", "A", "First cell edge.", (0.0, 100.0), "instant", "definition"),)

    def __init__(self, version: str = "1", tag: int = 0) -> None:
        self.version = version
        self.params = {"tag": tag}

    def evaluate(self, structures):
        return [self._one(structure) for structure in structures]

    def _one(self, structure):
        element = structure.composition.reduced_formula
        CALLS[element] += 1
        if element == "Kr":
            os.kill(os.getpid(), signal.SIGKILL)
        if element == "Ne":
            raise ZeroDivisionError("no")
        answers = {
            "He": math.inf,
            "Li": math.nan,
            "Be": -1.0,
            "B": True,
            "C": "3.0",
            "Na": np.float32(2.5),
            "Mg": 7,
        }
        if element == "F2":
            return Failure("unhappy", "fluorine")
        if element == "N2":
            return {}
        if element == "O2":
            return None
        return {"edge": answers.get(element, structure.lattice.a)}


class Double(Scripted):
    """Two results for each crystal."""

    def evaluate(self, structures):
        return 2 * super().evaluate(structures)


SCRIPTED = f"{HERE}:Scripted"


def crystal(symbol: str, edge: float = 3.0) -> Structure:
    return Structure(Lattice.cubic(edge), [symbol], [[0, 0, 0]])


def service(requests=None, cache=None, **settings) -> PropertyService:
    return PropertyService(requests or [(SCRIPTED, {})], EvaluationConfig(retries=0, **settings), cache)


@pytest.fixture(autouse=True)
def _fresh_counts():
    CALLS.clear()


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_results_come_in_order_under_the_requested_names(executor):
    requests = [("hhi", {}), ("density", {}), (SCRIPTED, {})]
    crystals = [crystal("Fe"), crystal("Si", 5.0), crystal("W")]
    running = service(requests, executor=executor, workers=2)
    results = running.evaluate(crystals)
    assert [r[SCRIPTED] for r in results] == [3.0, 5.0, 3.0]
    assert [r["hhi"] for r in results] == [1400, 1000, 4300]
    assert [list(r) for r in results] == [["hhi", "density", SCRIPTED]] * 3
    running.close()


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("He", "not-finite"),  # known fault of the released code: an infinite property earns the reward 1
        ("Li", "not-finite"),
        ("Be", "out-of-bounds"),
        ("B", "not-a-number"),
        ("C", "not-a-number"),
        ("N", "missing-property"),
        ("O", "bad-result"),
        ("F", "unhappy"),
        ("Ne", "error"),
    ],
)
def test_what_is_no_plausible_number_fails_its_crystal_only(symbol, kind):
    results = service().evaluate([crystal("Fe"), crystal(symbol), crystal("Si")])
    assert isinstance(results[1], Failure)
    assert results[1].kind == kind
    assert "Scripted" in results[1].reason, "the property is named"
    assert results[0] == {SCRIPTED: 3.0}
    assert results[2] == {SCRIPTED: 3.0}


@pytest.mark.parametrize(("symbol", "value"), [("Na", 2.5), ("Mg", 7.0)])
def test_all_kinds_of_real_numbers_become_floats(symbol, value):
    (result,) = service().evaluate([crystal(symbol)])
    assert result == {SCRIPTED: value}
    assert type(result[SCRIPTED]) is float


def test_a_wrong_number_of_results_is_a_failure():
    (result,) = service([(f"{HERE}:Double", {})]).evaluate([crystal("Fe")])
    assert result.kind == "bad-result"


def test_one_failed_property_fails_the_crystal_and_is_named():
    results = service([("density", {}), ("hhi", {})]).evaluate([crystal("H"), crystal("Fe")])
    assert results[0] == Failure("missing-data", "hhi: no Herfindahl-Hirschman index for H")
    assert set(results[1]) == {"density", "hhi"}


def test_each_property_has_its_value_or_its_own_failure():
    running = service([("density", {}), ("hhi", {}), (SCRIPTED, {})])
    hydrogen, lithium, iron = running.evaluate_each([crystal("H"), crystal("Li"), crystal("Fe")])
    assert list(running.properties) == list(hydrogen) == list(lithium) == list(iron) == ["density", "hhi", SCRIPTED]
    assert hydrogen["density"] == pytest.approx(0.062, abs=0.001)
    assert hydrogen["hhi"] == Failure("missing-data", "hhi: no Herfindahl-Hirschman index for H")
    assert hydrogen[SCRIPTED] == 3.0
    assert lithium[SCRIPTED].kind == "not-finite"
    assert iron["hhi"] == 1400


def test_what_is_evaluated_is_described_by_the_requested_names():
    running = service([(SCRIPTED, {}), ("hhi", {})])
    assert {name: info.unit for name, info in running.properties.items()} == {SCRIPTED: "A", "hhi": "1"}


class Uncertain(Scripted):
    """An edge with a standard deviation; beryllium's is negative, neon has none at all."""

    properties = (
        PropertyInfo("edge", "A", "First cell edge.", (0.0, 100.0), "instant", "definition", uncertainty="spread"),
        PropertyInfo("spread", "A", "Its standard deviation.", (0.0, 100.0), "instant", "definition"),
    )

    def _one(self, structure):
        CALLS[structure.composition.reduced_formula] += 1
        spreads = {"Be": -1.0, "Ne": Failure("unsure", "no ensemble")}
        return {"edge": structure.lattice.a, "spread": spreads.get(structure.composition.reduced_formula, 0.5)}


def test_an_uncertainty_comes_along_and_may_fail_alone():
    running = service([(f"{HERE}:Uncertain", {})])
    name = f"{HERE}:Uncertain"
    iron, beryllium, neon = running.evaluate_each([crystal("Fe"), crystal("Be"), crystal("Ne")])
    assert iron == {name: 3.0, "spread": 0.5}
    assert (beryllium[name], beryllium["spread"].kind) == (3.0, "out-of-bounds")
    assert (neon[name], neon["spread"]) == (3.0, Failure("unsure", "spread: no ensemble"))
    assert [type(result) for result in running.evaluate([crystal("Fe"), crystal("Ne")])] == [dict, Failure]


def test_a_result_that_is_not_whole_is_not_cached():
    running = service([(f"{HERE}:Uncertain", {})], ResultCache(None))
    for _ in range(2):
        running.evaluate_each([crystal("Fe"), crystal("Ne")])
    assert CALLS == {"Fe": 1, "Ne": 2}


@pytest.mark.parametrize(
    ("structure", "kind"),
    [
        (Structure(Lattice.cubic(3), [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(3), [{"Fe": 0.5}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(3), ["Fe"], [[math.nan, 0, 0]]), "not-finite"),
        (Structure(Lattice.cubic(3), [], []), "empty"),
    ],
)
def test_what_is_no_crystal_reaches_no_evaluator(structure, kind):
    results = service([(SCRIPTED, {}), ("density", {})]).evaluate_each([structure, crystal("Fe")])
    assert {value.kind for value in results[0].values()} == {kind}
    assert results[1][SCRIPTED] == 3.0
    assert CALLS == {"Fe": 1}


def test_nothing_to_evaluate():
    assert service().evaluate([]) == []
    assert service().evaluate_each([]) == []


def test_properties_of_one_evaluator_are_computed_once():
    from matinvent.properties.composition import HerfindahlHirschman

    calls = []
    original = HerfindahlHirschman.evaluate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HerfindahlHirschman, "evaluate", lambda self, s: calls.append(len(s)) or original(self, s))
        (result,) = service([("hhi", {}), ("hhi_production", {})]).evaluate([crystal("Pt")])
    assert result == {"hhi": 9100, "hhi_production": 5500}
    assert calls == [1]


def test_a_cached_result_is_not_computed_again_and_equal(tmp_path):
    crystals = [crystal("Fe"), crystal("Si", 1 / 3)]
    first = service(cache=ResultCache(tmp_path / "cache.db"))
    computed = first.evaluate(crystals)
    first.close()
    again = service(cache=ResultCache(tmp_path / "cache.db"))
    assert again.evaluate([*crystals, crystal("W")])[:2] == computed
    assert CALLS == {"Fe": 1, "Si": 1, "W": 1}


def test_failures_are_not_cached():
    running = service(cache=ResultCache(None))
    for _ in range(2):
        running.evaluate([crystal("He"), crystal("Ne"), crystal("F")])
    assert CALLS == {"He": 2, "Ne": 2, "F2": 2}


def test_version_and_parameters_are_part_of_the_identity():
    cache = ResultCache(None)
    for params in ({}, {"version": "2"}, {"tag": 1}, {}):
        service([(SCRIPTED, params)], cache).evaluate([crystal("Fe")])
    assert CALLS == {"Fe": 3}


def test_interruption_keeps_what_was_computed():
    class StopNowError(Exception):
        pass

    def stop(share):
        if share > 0.4:
            raise StopNowError

    cache = ResultCache(None)
    crystals = [crystal("Fe", edge) for edge in (2.0, 3.0, 4.0, 5.0)]
    with pytest.raises(StopNowError):
        service(cache=cache).evaluate(crystals, stop)
    assert len(cache) == 2
    service(cache=cache).evaluate(crystals)
    assert CALLS["Fe"] == 4


def test_progress_counts_cached_results_as_done():
    cache = ResultCache(None)
    service(cache=cache).evaluate([crystal("Fe"), crystal("Si")])
    seen: list[float] = []
    service(cache=cache).evaluate([crystal("Fe"), crystal("Si"), crystal("W"), crystal("Mo")], seen.append)
    assert seen == [0.75, 1.0]


def test_worker_processes_evaluate_and_a_crash_costs_one_crystal():
    running = service([(SCRIPTED, {}), ("density", {})], executor="processes", workers=2)
    results = running.evaluate([crystal("Fe"), crystal("Kr"), crystal("Si")])
    running.close()
    assert [r.kind if isinstance(r, Failure) else r[SCRIPTED] for r in results] == [3.0, "crashed", 3.0]
    assert not CALLS, "nothing ran in this process"


@pytest.mark.parametrize(
    ("requests", "settings", "message"),
    [
        ([("densty", {})], {}, "density"),
        ([("density", {"at": 300})], {}, "accepted"),
        ([(SCRIPTED, {"tag": {1, 2}})], {}, "plain values"),
        ([("density", {})], {"executor": "slurm"}, "executor"),
    ],
)
def test_faulty_settings_are_refused_before_anything_runs(requests, settings, message):
    with pytest.raises(ConfigError, match=message):
        service(requests, **settings)


class Spread:
    """Two of these with unlike params have uncertainties of one name."""

    properties = (
        PropertyInfo("gap", "eV", "Gap.", (0.0, 9.0), "instant", "definition", uncertainty="gap_uncertainty"),
        PropertyInfo("gap_uncertainty", "eV", "Its error.", (0.0, 9.0), "instant", "definition"),
    )
    version = "1"

    def __init__(self, spread: float) -> None:
        self.params = {"spread": spread}

    def evaluate(self, structures):
        return [{"gap": 1.0, "gap_uncertainty": self.params["spread"]} for _ in structures]


def test_values_of_one_evaluator_never_hide_those_of_another():
    requests = [(f"{HERE}:Spread", {"spread": spread}) for spread in (0.1, 0.2)]
    with pytest.raises(ConfigError, match="would come from two evaluators"):
        PropertyService(requests, EvaluationConfig(executor="serial"), None)
    same = PropertyService([requests[0], requests[0]], EvaluationConfig(executor="serial"), None)
    assert [info.name for info in same.properties.values()] == ["gap", "gap_uncertainty"]
