"""Apply a function to many items so that one bad item never costs another its result.

An exception, a dead worker process or a task that never ends becomes a :class:`Failure` in that item's
place; everything else is returned as if nothing had happened, in the order of the items.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from matinvent.errors import EvaluationError, Failure

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[float], None]

#: Seconds between two looks at running tasks, and between two progress calls while nothing ends.
_TICK = 0.5
_DIED = "its worker process died (killed, out of memory, or failed to start)"


class Runner:
    """Runs tasks on executors of one kind; the executor is kept between calls and replaced when lost.

    Args:
        factory: makes an executor (see :func:`matinvent.execution.executors.make_executor_factory`).
        timeout: seconds one attempt at a task may take, counted from when the executor reports it
            running; None for no limit. Hung worker processes are killed, hung threads are abandoned, and
            serial tasks have no limit because they run in the caller's own thread.
        retries: further attempts at an item after an exception, a crash or a time-out.
        workers: tasks submitted at the same time; None to take the factory's ``workers``, else 1.
    """

    def __init__(
        self,
        factory: Callable[[], Executor],
        *,
        timeout: float | None = None,
        retries: int = 0,
        workers: int | None = None,
    ) -> None:
        self._factory = factory
        self._timeout = timeout
        self._retries = retries
        self._workers: int = getattr(factory, "workers", 1) if workers is None else workers
        self._executor: Executor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers; the runner may be used again and then starts new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)

    def map(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        progress: Progress | None = None,
        on_result: Callable[[int, R | Failure], None] | None = None,
    ) -> list[R | Failure]:
        """Call ``function`` on every item; results have the length and order of ``items``.

        Args:
            function: for worker processes a picklable one (top level of a module, or a partial of such).
            items: arguments, one each; picklable for worker processes.
            progress: called with the finished share in [0, 1], also while nothing ends, so that it can
                interrupt by raising; the workers are then stopped.
            on_result: called with (position, result) as soon as each result is final.

        Raises:
            EvaluationError: no executor can be started.
        """
        job = _Job(self, function, items, progress, on_result)
        try:
            return job.run()
        except BaseException:
            self._discard()  # running tasks are of no use any more, and may hang
            raise

    def _submit(self, task: Callable[[], Any]) -> Future[Any]:
        """Hand a task to the executor; one that broke while idle is replaced once."""
        try:
            return self._start().submit(task)
        except BrokenExecutor:
            self._discard()
        try:
            return self._start().submit(task)
        except BrokenExecutor as error:
            raise EvaluationError(f"a new executor broke before its first task: {error}") from error

    def _start(self) -> Executor:
        if self._executor is None:
            try:
                self._executor = self._factory()
            except Exception as error:
                raise EvaluationError(f"the executor cannot be started: {type(error).__name__}: {error}") from error
        return self._executor

    def _discard(self) -> bool:
        """Let the executor go; True if its running tasks went with it."""
        executor, self._executor = self._executor, None
        if executor is None:
            return False
        kill = getattr(executor, "kill_workers", None)
        if kill is not None:
            kill()
            return True
        executor.shutdown(wait=False)
        return False


@dataclass(slots=True)
class _Running:
    """A submitted task.

    Attributes:
        index: position of its item.
        alone: no other task runs beside it, so that a crash is its own fault.
        started: when it was first seen running (monotonic clock, s).
        left: its executor was let go while it ran.
    """

    index: int
    alone: bool
    started: float | None = None
    left: bool = False


class _Job(Generic[T, R]):
    """One call of :meth:`Runner.map`.

    At most ``workers`` tasks are submitted at a time, so that a submitted task runs and the clock of its
    time-out is fair. When worker processes die, all tasks in flight are suspects: they are then run one by
    one, so that whoever kills its worker again does so alone and is known.
    """

    def __init__(
        self,
        runner: Runner,
        function: Callable[[T], R],
        items: Sequence[T],
        progress: Progress | None,
        on_result: Callable[[int, R | Failure], None] | None,
    ) -> None:
        self.runner = runner
        self.function = function
        self.items = items
        self.progress = progress
        self.on_result = on_result
        self.waiting = deque(range(len(items)))
        self.suspects: deque[int] = deque()
        self.flight: dict[Future[R | Failure], _Running] = {}
        self.attempts = [0] * len(items)
        self.results: dict[int, R | Failure] = {}

    def run(self) -> list[R | Failure]:
        while len(self.results) < len(self.items):
            self._fill()
            self._collect()
            self._expire()
            self._report()
        return [self.results[index] for index in range(len(self.items))]

    def _fill(self) -> None:
        """Submit what may run now: one suspect and nothing beside it, else as many as there are workers."""
        if any(running.alone for running in self.flight.values()):
            return
        if self.suspects:
            if not self.flight:
                self._launch(self.suspects.popleft(), alone=True)
            return
        while self.waiting and len(self.flight) < self.runner._workers:
            self._launch(self.waiting.popleft(), alone=self.runner._workers == 1)

    def _launch(self, index: int, alone: bool) -> None:
        future = self.runner._submit(partial(_attempt, self.function, self.items[index]))
        self.flight[future] = _Running(index, alone)

    def _collect(self) -> None:
        """Take in the tasks that have ended, in the order of the items."""
        done, _ = wait(self.flight, timeout=_TICK, return_when=FIRST_COMPLETED)
        # A cancelled future counts as done only once its executor takes note, which a dead one never does.
        done |= {future for future in self.flight if future.cancelled()}
        broken: list[_Running] = []
        for future in sorted(done, key=lambda ended: self.flight[ended].index):
            running = self.flight.pop(future)
            try:
                self._finish(running.index, future.result())
            except BrokenExecutor:
                broken.append(running)
            except CancelledError:
                self._cancelled(running)
            except Exception as error:  # noqa: BLE001 - whatever an executor raises for a task it could not run
                self._failed_attempt(running.index, Failure("error", f"{_describe(error)} (from the executor)"))
        if broken:
            self._crashed(broken)

    def _crashed(self, broken: list[_Running]) -> None:
        """Worker processes died: find out whose fault it was."""
        self.runner._discard()
        broken += self._lost()
        if len(broken) == 1 and broken[0].alone:
            self._failed_attempt(broken[0].index, Failure("crashed", _DIED))
        else:
            self.suspects.extend(sorted(running.index for running in broken))

    def _cancelled(self, running: _Running) -> None:
        """A task went with the executor we let go (no fault of its own), or its executor refused it."""
        if running.left:
            self.waiting.appendleft(running.index)
        else:
            self._failed_attempt(running.index, Failure("error", "cancelled by its executor"))

    def _expire(self) -> None:
        """Give up the attempts that have run too long."""
        limit = self.runner._timeout
        if limit is None:
            return
        late = self._late(limit)
        if not late:
            return
        hung = sorted(self.flight.pop(future).index for future in late)
        if self.runner._discard():
            # The innocent neighbours of a killed worker start again.
            self.waiting.extendleft(running.index for running in reversed(self._lost()))
        for running in self.flight.values():
            running.left = True
        for index in hung:
            self._failed_attempt(index, Failure("timeout", f"no result within {limit:g} s"))

    def _late(self, limit: float) -> list[Future[R | Failure]]:
        """Start the clocks of tasks that now run; the tasks whose time is over."""
        now = time.monotonic()
        late = []
        for future, running in self.flight.items():
            if running.started is None and future.running():
                running.started = now
            if running.started is not None and now - running.started > limit and not future.done():
                late.append(future)
        return late

    def _lost(self) -> list[_Running]:
        """Take the tasks without a result out of the flight; those with one are collected as usual."""
        unfinished = [future for future in self.flight if not _has_result(future)]
        return sorted((self.flight.pop(future) for future in unfinished), key=lambda running: running.index)

    def _finish(self, index: int, outcome: R | Failure) -> None:
        """A task ran to its end: keep its result, unless it raised and has attempts left."""
        if isinstance(outcome, _Raised):
            self._failed_attempt(index, Failure("error", outcome.reason))
        else:
            self._settle(index, outcome)

    def _failed_attempt(self, index: int, failure: Failure) -> None:
        self.attempts[index] += 1
        if self.attempts[index] <= self.runner._retries:
            # A crash suspect stays one: it must not take others with it.
            (self.suspects if failure.kind == "crashed" else self.waiting).append(index)
            return
        tries = self.attempts[index]
        self._settle(index, failure if tries == 1 else Failure(failure.kind, f"{failure.reason} ({tries} attempts)"))

    def _settle(self, index: int, result: R | Failure) -> None:
        self.results[index] = result
        if self.on_result is not None:
            self.on_result(index, result)

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(len(self.results) / len(self.items))


def _has_result(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


@dataclass(frozen=True, slots=True)
class _Raised:
    """A task's exception, in a form that always travels between processes."""

    reason: str


def _attempt(function: Callable[[Any], Any], item: Any) -> Any:
    """Run one task where the executor runs it; exceptions become values there."""
    try:
        return function(item)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's function may raise anything
        return _Raised(_describe(error))


def _describe(error: BaseException) -> str:
    """Type and message of an exception on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
