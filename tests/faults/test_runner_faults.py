"""Faults injected into worker processes: killed, hung, unpicklable, all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest

from matinvent.errors import Failure
from matinvent.execution.executors import make_executor_factory
from matinvent.execution.runner import Runner

PROCESSES = make_executor_factory("processes", 2)


def work(task: tuple[str, object]) -> object:
    """Do what the task says: give back its number, die, hang, raise, or return what cannot travel."""
    kind, number = task
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        time.sleep(600)
    if kind == "raise":
        raise ZeroDivisionError("no")
    if kind == "unpicklable":
        return lambda: number
    if kind == "poisoned-result":
        return Poisoned()
    return number


class Poisoned:
    """Can be pickled, but never unpickled."""

    def __reduce__(self):
        return (_refuse, ())


def _refuse():
    raise RuntimeError("refuses to be unpickled")


def die_once(path: str) -> str:
    """Kill the worker at the first call only."""
    marker = Path(path)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def kinds(results: list[object]) -> list[object]:
    return [r.kind if isinstance(r, Failure) else r for r in results]


def test_a_killed_worker_costs_only_the_item_that_killed_it():
    tasks = [("ok", 0), ("ok", 1), ("die", 2), ("ok", 3), ("ok", 4), ("ok", 5)]
    with Runner(PROCESSES) as runner:
        assert kinds(runner.map(work, tasks)) == [0, 1, "crashed", 3, 4, 5]
        assert runner.map(work, [("ok", 6)]) == [6], "the pool is whole again"


def test_every_item_kills_its_worker():
    with Runner(PROCESSES) as runner:
        assert kinds(runner.map(work, [("die", i) for i in range(3)])) == ["crashed"] * 3


def test_a_crash_that_does_not_repeat_is_forgiven(tmp_path):
    with Runner(PROCESSES, retries=1) as runner:
        assert runner.map(die_once, [str(tmp_path / "marker")]) == ["alive"]


def test_a_hung_worker_is_killed_and_its_neighbours_finish():
    tasks = [("hang", 0), ("ok", 1), ("ok", 2), ("hang", 3), ("ok", 4)]
    start = time.monotonic()
    with Runner(PROCESSES, timeout=3.0) as runner:
        assert kinds(runner.map(work, tasks)) == ["timeout", 1, 2, "timeout", 4]
    assert time.monotonic() - start < 60


def test_a_hung_worker_does_not_stay_behind(tmp_path):
    with Runner(make_executor_factory("processes", 1), timeout=2.0) as runner:
        assert kinds(runner.map(hang_after_telling, [str(tmp_path / "pid")])) == ["timeout"]
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def hang_after_telling(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def test_large_arguments_do_not_block_the_replacement_of_a_dead_pool():
    tasks = [("die", b"x" * 20_000_000), ("ok", b"y" * 20_000_000), ("die", b"z" * 20_000_000)]
    with Runner(PROCESSES) as runner:
        results = runner.map(work, tasks)
    assert kinds(results) == ["crashed", tasks[1][1], "crashed"]


def test_exceptions_and_unpicklable_results_are_failures_of_their_item():
    tasks = [("raise", 0), ("unpicklable", 1), ("ok", 2), ("poisoned-result", 3), ("ok", 4)]
    with Runner(PROCESSES) as runner:
        results = runner.map(work, tasks)
    assert kinds(results) == ["error", "error", 2, "crashed", 4]
    assert results[0] == Failure("error", "ZeroDivisionError: no")
    assert "pickle" in results[1].reason


def test_unpicklable_function_or_item_is_a_failure():
    with Runner(PROCESSES) as runner:
        assert kinds(runner.map(lambda x: x, [1, 2])) == ["error", "error"]
        assert kinds(runner.map(work, [("ok", 1), ("ok", threading.Lock())])) == [1, "error"]


def test_a_worker_that_dies_between_calls_is_replaced():
    with Runner(make_executor_factory("processes", 1)) as runner:
        (pid,) = runner.map(_pid, [0])
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        assert runner.map(work, [("ok", 1), ("ok", 2)]) == [1, 2]


def _pid(_: int) -> int:
    return os.getpid()


def test_a_hung_thread_is_abandoned_and_does_not_hold_up_the_program():
    code = """
import time
from matinvent.execution.executors import make_executor_factory
from matinvent.execution.runner import Runner
def work(x):
    if x == 1:
        time.sleep(600)
    return x
with Runner(make_executor_factory("threads", 2), timeout=0.5) as runner:
    print([getattr(r, "kind", r) for r in runner.map(work, range(4))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[0, 'timeout', 2, 3]"


def test_hung_threads_of_a_users_pool_do_not_starve_the_other_items():
    release = threading.Event()

    def task(x):
        if x < 2:
            release.wait(60)
        return x

    factory = make_executor_factory("concurrent.futures:ThreadPoolExecutor", 2)
    with Runner(factory, timeout=0.5) as runner:
        assert kinds(runner.map(task, range(5))) == ["timeout", "timeout", 2, 3, 4]
    release.set()


class Cluster(Executor):
    """A remote executor: of its first incarnation one task hangs, and the others are cancelled when it is let go."""

    incarnations = 0

    def __init__(self) -> None:
        Cluster.incarnations += 1
        self.first = Cluster.incarnations == 1
        self.pending: list[Future[object]] = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future[object] = Future()
        self.pending.append(future)
        if not self.first:
            future.set_result(fn(*args, **kwargs))
        elif len(self.pending) == 1:
            future.set_running_or_notify_cancel()
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        for future in self.pending:
            future.cancel()


def test_tasks_cancelled_together_with_a_hung_one_run_again():
    Cluster.incarnations = 0
    with Runner(Cluster, timeout=0.2, workers=3) as runner:
        assert kinds(runner.map(work, [("ok", 0), ("ok", 1), ("ok", 2), ("ok", 3)])) == ["timeout", 1, 2, 3]


def test_an_executor_that_cancels_on_its_own_gives_failures_not_an_endless_loop():
    class Refusing(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future: Future[object] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with Runner(Refusing, retries=2) as runner:
        (result,) = runner.map(work, [("ok", 0)])
    assert result == Failure("error", "cancelled by its executor (3 attempts)")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_when_their_parent_is_killed():
    code = """
import os, time
from matinvent.execution.executors import make_executor_factory
executor = make_executor_factory("processes", 1)()
print(executor.submit(os.getpid).result(), flush=True)
executor.submit(time.sleep, 600)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while _alive(worker):
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
