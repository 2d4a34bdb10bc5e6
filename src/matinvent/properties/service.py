"""Evaluate the properties of a campaign: in parallel, cached, and with nothing but plausible numbers as results."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from matinvent.config import EvaluationConfig
from matinvent.errors import ConfigError, Failure
from matinvent.execution.cache import ResultCache, cache_key
from matinvent.execution.executors import make_executor_factory
from matinvent.execution.runner import Runner
from matinvent.properties.evaluator import Evaluator, PropertyInfo
from matinvent.properties.registry import create, declared, resolve

if TYPE_CHECKING:
    from pymatgen.core import Structure

Result = dict[str, float] | Failure


class PropertyService:
    """Runs evaluators on structures.

    Properties that come from one evaluator with equal parameters are computed together.

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
        self._sources = _group(requests)
        self._cache = cache
        factory = make_executor_factory(evaluation.executor, evaluation.workers)
        self._runner = Runner(factory, timeout=evaluation.timeout, retries=evaluation.retries)

    def evaluate(
        self, structures: Sequence[Structure], progress: Callable[[float], None] | None = None
    ) -> list[dict[str, float] | Failure]:
        """Properties of each structure, by the requested names and in order.

        A crystal of which any property failed, or is not finite or out of its bounds, is a Failure that names the
        property. Each success enters the cache at once, so that an interrupted call is not lost.

        Args:
            structures: crystals.
            progress: called with the finished share in [0, 1]; may raise to interrupt.
        """
        jobs = [_Job(source, number) for number in range(len(structures)) for source in self._sources]
        keys = [job.source.key(structures[job.number]) for job in jobs] if self._cache is not None else []
        results = [self._recall(job, key) for job, key in zip(jobs, keys, strict=True)] if keys else [None] * len(jobs)
        waiting = [place for place, result in enumerate(results) if result is None]

        def finish(position: int, outcome: Any) -> None:
            place = waiting[position]
            result = results[place] = jobs[place].source.check(outcome)
            if self._cache is not None and not isinstance(result, Failure):
                self._cache.put(keys[place], result)

        tasks = [_Task(jobs[place].source.factory, jobs[place].source.params, structures[jobs[place].number]) for place in waiting]
        self._runner.map(_evaluate, tasks, _Share(progress, len(jobs), len(waiting)), finish)
        return _merge(results, len(structures), len(self._sources))
