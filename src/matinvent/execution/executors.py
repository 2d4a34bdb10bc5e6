"""Where tasks run: in this process, in threads, in worker processes, or on a user's own executor.

Only ``submit``, ``shutdown`` and futures are used, so dask (``Client.get_executor``), executorlib
(Slurm, Flux), parsl and loky fit through ``module:function``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from matinvent.errors import ConfigError
from matinvent.plugins import load_callable

#: Variables by which numerical libraries are told how many threads to start.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class ExecutorFactory:
    """Makes executors of one kind; a new one whenever the last was lost.

    Attributes:
        name: ``serial``, ``threads``, ``processes`` or ``module:function``.
        workers: tasks that run at the same time.
        make: makes one executor.
    """

    name: str
    workers: int
    make: Callable[[], Executor]

    def __call__(self) -> Executor:
        """Start an executor."""
        return self.make()


def make_executor_factory(name: str, workers: int) -> ExecutorFactory:
    """Look up how tasks are to be run.

    Args:
        name: ``serial`` (inline, one at a time), ``threads``, ``processes`` (fresh interpreters, one
            numerical thread each) or ``module:function``, called without arguments whenever an executor is needed.
        workers: tasks that run at the same time.

    Raises:
        ConfigError: the name is unknown or cannot be imported, or ``workers`` is below 1.
    """
    if workers < 1:
        raise ConfigError(f"workers: must be at least 1 (given: {workers})")
    if name == "serial":
        return ExecutorFactory(name, 1, SerialExecutor)
    if name == "threads":
        return ExecutorFactory(name, workers, ThreadExecutor)
    if name == "processes":
        return ExecutorFactory(name, workers, lambda: ProcessExecutor(workers))
    if ":" in name:
        return ExecutorFactory(name, workers, load_callable(name, "executor"))
    raise ConfigError(f"executor: '{name}' is unknown; use serial, threads, processes or 'module:function'")


class SerialExecutor(Executor):
    """Runs each task at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn`` and return its finished future."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future carries whatever its task raised
            future.set_exception(error)
        return future


class ThreadExecutor(Executor):
    """One daemon thread per task; the caller limits how many it submits.

    The standard library's pool waits for its threads when the program ends, so that one hung task keeps
    the program alive for ever; a daemon thread does not.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a thread that calls ``fn``."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - a future carries whatever its task raised
                future.set_exception(error)

        threading.Thread(target=work, name="matinvent-task", daemon=True).start()
        return future


class ProcessExecutor(ProcessPoolExecutor):
    """Fresh (spawned) worker processes that die with their parent and can be killed."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, mp_context=context, initializer=_prepare_worker)

    def kill_workers(self) -> None:
        """Kill every worker, also one that hangs; unfinished futures break."""
        for process in list((self._processes or {}).values()):
            process.kill()
        self.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    """Set up a worker process: one numerical thread, no Ctrl-C, no life after the parent's."""
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = "1"
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="matinvent-watch-parent", daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the parent is gone: a parent that was killed cannot stop its workers itself."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in worker processes only"
    parent.join()
    os._exit(1)


def available_cores() -> int:
    """CPU cores this process may use; fewer than the machine has under a scheduler or an affinity mask."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
