"""Evaluate the properties of a campaign: in parallel, cached, and with nothing but plausible numbers as results."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from matinvent.config import EvaluationConfig
from matinvent.errors import ConfigError, Failure
from matinvent.execution.cache import ResultCache, cache_key
from matinvent.execution.executors import make_executor_factory
from matinvent.execution.runner import Runner
from matinvent.properties.evaluator import Evaluator, PropertyInfo
from matinvent.properties.registry import companion, create, declared, resolve

if TYPE_CHECKING:
    from pymatgen.core import Structure


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

    def evaluate(
        self, structures: Sequence[Structure], progress: Callable[[float], None] | None = None
    ) -> list[dict[str, float] | Failure]:
        """Properties of each structure, by the requested names and in order, with their uncertainties if there are any.

        A crystal of which any property failed, or is not finite or out of its bounds, is a Failure that names the
        property. Each success enters the cache at once, so that an interrupted call is not lost.

        Args:
            structures: crystals.
            progress: called with the finished share in [0, 1]; may raise to interrupt.
        """
        jobs = [_Job(source, structure) for structure in structures for source in self._sources]
        for job in jobs:
            job.result = self._recall(job)
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

    def _recall(self, job: _Job) -> dict[str, float] | None:
        """The cached result of a job, if it has all that is wanted."""
        if self._cache is None:
            return None
        cached = self._cache.get(job.key())
        return cached if cached is not None and cached.keys() == job.source.wanted.keys() else None

    def _accept(self, job: _Job, outcome: object) -> None:
        """Check what an evaluator returned, and remember it if it is good."""
        job.result = job.source.check(outcome)
        if self._cache is not None and not isinstance(job.result, Failure):
            self._cache.put(job.key(), job.result)


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker needs to know: the name under which its evaluator is made, the parameters (JSON), a crystal."""

    name: str
    params: str
    structure: Structure


@dataclass(frozen=True, slots=True)
class _Source:
    """One evaluator and what is wanted of it: requested name -> declared property."""

    name: str
    params: str
    evaluator: Evaluator
    wanted: dict[str, PropertyInfo]

    def check(self, outcome: object) -> dict[str, float] | Failure:
        """The wanted values by their requested names, or what is wrong with one of them."""
        if isinstance(outcome, Failure):
            return Failure(outcome.kind, f"{', '.join(self.wanted)}: {outcome.reason}")
        if not isinstance(outcome, Mapping):
            return Failure("bad-result", f"{', '.join(self.wanted)}: got {type(outcome).__name__} instead of a mapping")
        values: dict[str, float] = {}
        for name, info in self.wanted.items():
            value = _plausible(outcome.get(info.name), name, info)
            if isinstance(value, Failure):
                return value
            values[name] = value
        return values


@dataclass(slots=True)
class _Job:
    """One evaluator on one crystal; the result is None until it is known."""

    source: _Source
    structure: Structure
    result: dict[str, float] | Failure | None = None

    def task(self) -> _Task:
        return _Task(self.source.name, self.source.params, self.structure)

    def key(self) -> str:
        evaluator = self.source.evaluator
        return cache_key(resolve(self.source.name), evaluator.version, evaluator.params, self.structure)


def _sources(requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[_Source]:
    """Group the requested properties by the evaluator that computes them."""
    sources: dict[tuple[str, str], _Source] = {}
    for name, params in requests:
        text = _as_json(name, params)
        known = sources.get((resolve(name), text))
        if known is None:
            known = sources[resolve(name), text] = _Source(name, text, _evaluator(name, text), {})
        info = declared(name, known.evaluator)
        known.wanted[name] = info
        uncertainty = companion(info, known.evaluator)
        if uncertainty is not None:
            known.wanted[uncertainty.name] = uncertainty
    return list(sources.values())


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


def _plausible(value: object, name: str, info: PropertyInfo) -> float | Failure:
    """The value as a float if it is a finite number within its bounds."""
    if value is None:
        return Failure("missing-property", f"{name}: the evaluator gave no {info.name}")
    if isinstance(value, bool) or not isinstance(value, int | float | numbers.Real):
        return Failure("not-a-number", f"{name}: got {type(value).__name__} instead of a number")
    number = float(value)
    if not math.isfinite(number):
        return Failure("not-finite", f"{name} is {number}")
    lower, upper = info.bounds
    if not lower <= number <= upper:
        return Failure("out-of-bounds", f"{name} is {number:g} {info.unit}, outside {lower:g} .. {upper:g}")
    return number


def _merge(jobs: Sequence[_Job]) -> dict[str, float] | Failure:
    """All properties of one crystal; the first failure if there is any."""
    merged: dict[str, float] = {}
    for job in jobs:
        assert job.result is not None, "the runner gives a result for every job"
        if isinstance(job.result, Failure):
            return job.result
        merged.update(job.result)
    return merged
