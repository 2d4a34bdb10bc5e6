"""Evaluate the properties of a campaign: in parallel, cached, and with nothing but plausible numbers as results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from matinvent.config import EvaluationConfig
from matinvent.errors import ConfigError, Failure
from matinvent.execution.cache import ResultCache, cache_key
from matinvent.execution.executors import make_executor_factory
from matinvent.execution.runner import Runner
from matinvent.properties.evaluator import Evaluator, PropertyInfo, plausible, structure_defect
from matinvent.properties.registry import companion, create, declared, resolve

if TYPE_CHECKING:
    from pymatgen.core import Structure

Outcomes = dict[str, float | Failure]


class PropertyService:
    """Runs evaluators on structures.

    Properties that come from one evaluator with equal parameters are computed together. A time-out is one of a single
    evaluation; it needs an executor other than ``serial``.

    Args:
        requests: (property, parameters of its evaluator) of each wanted property.
        evaluation: executor, time-out and retries.
        cache: results of earlier evaluations; None to compute everything anew.

    Raises:
        ConfigError: a property or the executor is unknown, or parameters do not fit.
    """

    def __init__(
        self, requests: Sequence[tuple[str, Mapping[str, Any]]], evaluation: EvaluationConfig, cache: ResultCache | None
    ) -> None:
        self._sources = _sources(requests)
        self._cache = cache
        factory = make_executor_factory(evaluation.executor, evaluation.workers)
        self._runner = Runner(factory, timeout=evaluation.timeout, retries=evaluation.retries)

    @property
    def properties(self) -> dict[str, PropertyInfo]:
        """What is evaluated, by its requested name: each property and its uncertainty if there is one."""
        return {name: info for source in self._sources for name, info in source.wanted.items()}

    def evaluate(
        self, structures: Sequence[Structure], progress: Callable[[float], None] | None = None
    ) -> list[dict[str, float] | Failure]:
        """Properties of each structure, by the requested names and in order, with their uncertainties if there are any.

        As :meth:`evaluate_each`, but a crystal of which any property failed is a Failure: the first of them.
        """
        return [_whole(outcomes) for outcomes in self.evaluate_each(structures, progress)]

    def evaluate_each(
        self, structures: Sequence[Structure], progress: Callable[[float], None] | None = None
    ) -> list[dict[str, float | Failure]]:
        """Each property of each structure, or why there is no value.

        A value that is not finite or out of its bounds is a Failure that names the property. An evaluator's results
        enter the cache at once when all are good, so that an interrupted call is not lost.

        Args:
            structures: crystals; one that is disordered or has coordinates that are no numbers has no properties.
            progress: called with the finished share in [0, 1]; may raise to interrupt.

        Returns:
            For each structure, in order, the names of :attr:`properties`.
        """
        jobs = [_Job(source, structure) for structure in structures for source in self._sources]
        for job in jobs:
            job.result = self._known(job)
        waiting = [job for job in jobs if job.result is None]

        def finish(position: int, outcome: object) -> None:
            self._accept(waiting[position], outcome)

        def report(share: float) -> None:
            if progress is not None:
                progress(1 - (1 - share) * len(waiting) / len(jobs))

        self._runner.map(_evaluate, [job.task() for job in waiting], report, finish)
        width = len(self._sources)
        return [_merge(jobs[start : start + width]) for start in range(0, len(jobs), width)]

    def close(self) -> None:
        """Stop the workers and close the cache."""
        self._runner.close()
        if self._cache is not None:
            self._cache.close()

    def _known(self, job: _Job) -> Outcomes | None:
        """The result of a job that need not run: its structure is no crystal, or the cache has all that is wanted."""
        defect = structure_defect(job.structure)
        if defect is not None:
            return job.source.check(defect)
        if self._cache is None:
            return None
        cached = self._cache.get(job.key())
        return cached if cached is not None and cached.keys() == job.source.wanted.keys() else None

    def _accept(self, job: _Job, outcome: object) -> None:
        """Check what an evaluator returned, and remember it if it is good."""
        job.result = job.source.check(outcome)
        good = _whole(job.result)
        if self._cache is not None and not isinstance(good, Failure):
            self._cache.put(job.key(), good)


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker needs to know: the name under which its evaluator is made, the parameters (JSON), a crystal."""

    name: str
    params: str
    structure: Structure


@dataclass(frozen=True, slots=True)
class _Source:
    """One evaluator, where it comes from, and what is wanted of it: requested name -> declared property."""

    name: str
    origin: str
    params: str
    evaluator: Evaluator
    wanted: dict[str, PropertyInfo]

    def check(self, outcome: object) -> Outcomes:
        """The wanted values by their requested names, each a plausible number or what is wrong with it."""
        if isinstance(outcome, Failure):
            companions = {info.uncertainty for info in self.wanted.values()}
            asked = ", ".join(name for name, info in self.wanted.items() if info.name not in companions)
            return dict.fromkeys(self.wanted, Failure(outcome.kind, f"{asked}: {outcome.reason}"))
        if not isinstance(outcome, Mapping):
            return self.check(Failure("bad-result", f"got {type(outcome).__name__} instead of a mapping"))
        return {name: plausible(outcome.get(info.name), info, name) for name, info in self.wanted.items()}


@dataclass(slots=True)
class _Job:
    """One evaluator on one crystal; the result is None until it is known."""

    source: _Source
    structure: Structure
    result: Outcomes | None = None

    def task(self) -> _Task:
        return _Task(self.source.name, self.source.params, self.structure)

    def key(self) -> str:
        evaluator = self.source.evaluator
        return cache_key(self.source.origin, evaluator.version, evaluator.params, self.structure)


def _sources(requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[_Source]:
    """Group the requested properties by the evaluator that computes them."""
    sources: dict[tuple[str, str], _Source] = {}
    for name, params in requests:
        text = _as_json(name, params)
        origin = resolve(name)
        known = sources.get((origin, text))
        if known is None:
            known = sources[origin, text] = _Source(name, origin, text, _evaluator(name, text), {})
        info = declared(name, known.evaluator)
        _claim(name, info, known, sources.values())
        uncertainty = companion(info, known.evaluator)
        if uncertainty is not None:
            _claim(uncertainty.name, uncertainty, known, sources.values())
    return list(sources.values())


def _claim(name: str, info: PropertyInfo, source: _Source, sources: Iterable[_Source]) -> None:
    """Have a property come from one evaluator; of two, one's values would hide the other's."""
    for other in sources:
        if other is not source and name in other.wanted:
            raise ConfigError(
                f"'{name}' would come from two evaluators, '{other.name}' with params {other.params} and "
                f"'{source.name}' with params {source.params}; ask for one of them at a time"
            )
    source.wanted[name] = info


def _as_json(name: str, params: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(params), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"property '{name}': params {dict(params)} must be plain values: {error}") from None


@cache
def _evaluator(name: str, params: str) -> Evaluator:
    """An evaluator is made once per process: it may have to load a model."""
    return create(name, json.loads(params))


def _evaluate(task: _Task) -> object:
    """Evaluate one crystal where the executor runs it."""
    results = _evaluator(task.name, task.params).evaluate([task.structure])
    if len(results) != 1:
        return Failure("bad-result", f"the evaluator gave {len(results)} results for one crystal")
    result = results[0]
    # Plain dictionaries travel between processes whatever kind of mapping the evaluator uses.
    return dict(result) if isinstance(result, Mapping) else result


def _merge(jobs: Sequence[_Job]) -> Outcomes:
    """All properties of one crystal."""
    merged: Outcomes = {}
    for job in jobs:
        assert job.result is not None, "the runner gives a result for every job"
        merged.update(job.result)
    return merged


def _whole(outcomes: Outcomes) -> dict[str, float] | Failure:
    """The values if all are there, else the first failure."""
    values: dict[str, float] = {}
    for name, outcome in outcomes.items():
        if isinstance(outcome, Failure):
            return outcome
        values[name] = outcome
    return values
