"""The runner on healthy tasks: order, progress, streaming, retries, executors by name."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinvent.errors import ConfigError, EvaluationError, Failure
from matinvent.execution.executors import make_executor_factory
from matinvent.execution.runner import Runner


def double(x: int) -> int:
    return 2 * x


def sleep_inversely(x: int) -> int:
    time.sleep(0.02 * (5 - x))
    return x


def fail_on_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd\n number {x}")
    return x


def environment(_: int) -> tuple[str | None, bool, int]:
    return os.environ.get("OMP_NUM_THREADS"), "torch" in sys.modules, os.getpid()


class StopNowError(Exception):
    pass


def leave(x: int) -> int:
    sys.exit(3)


@given(st.lists(st.integers(), max_size=20))
@settings(deadline=None)
def test_serial_results_keep_length_and_order(items):
    with Runner(make_executor_factory("serial", 1)) as runner:
        assert runner.map(double, items) == [2 * x for x in items]


def test_threads_keep_order_though_later_items_end_first():
    with Runner(make_executor_factory("threads", 5)) as runner:
        assert runner.map(sleep_inversely, range(5)) == list(range(5))


def test_threads_run_at_most_workers_tasks_at_once():
    running, peak, lock = 0, 0, threading.Lock()

    def task(x):
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    with Runner(make_executor_factory("threads", 3)) as runner:
        runner.map(task, range(12))
    assert 1 < peak <= 3


@pytest.mark.parametrize("name", ["serial", "threads"])
def test_exception_becomes_a_failure_in_its_place(name):
    with Runner(make_executor_factory(name, 2)) as runner:
        results = runner.map(fail_on_odd, [0, 1, 2, 3])
    assert results == [
        0,
        Failure("error", "ValueError: odd number 1"),
        2,
        Failure("error", "ValueError: odd number 3"),
    ]


@pytest.mark.parametrize("name", ["serial", "threads"])
def test_all_items_failing_is_not_an_error(name):
    with Runner(make_executor_factory(name, 2)) as runner:
        assert all(isinstance(r, Failure) for r in runner.map(fail_on_odd, [1, 3, 5]))


def test_exit_inside_a_task_is_a_failure():
    with Runner(make_executor_factory("serial", 1)) as runner:
        assert runner.map(leave, [1]) == [Failure("error", "SystemExit: 3")]


def test_retries_are_bounded_and_counted():
    calls = []

    def flaky(x):
        calls.append(x)
        if calls.count(x) <= x:
            raise OSError("busy")
        return x

    with Runner(make_executor_factory("serial", 1), retries=2) as runner:
        results = runner.map(flaky, [0, 1, 2, 3])
    assert results == [0, 1, 2, Failure("error", "OSError: busy (3 attempts)")]
    assert [calls.count(x) for x in range(4)] == [1, 2, 3, 3]


def test_a_returned_failure_is_a_result_and_not_tried_again():
    calls = []

    def judge(x):
        calls.append(x)
        return Failure("no-gap", "a metal")

    with Runner(make_executor_factory("serial", 1), retries=3) as runner:
        assert runner.map(judge, [7]) == [Failure("no-gap", "a metal")]
    assert calls == [7]


def test_progress_is_monotonous_and_ends_at_one():
    seen: list[float] = []
    with Runner(make_executor_factory("threads", 2)) as runner:
        runner.map(sleep_inversely, range(4), seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_progress_may_interrupt_and_the_runner_stays_usable():
    def stop(_):
        raise StopNowError

    with Runner(make_executor_factory("threads", 2)) as runner:
        with pytest.raises(StopNowError):
            runner.map(double, range(4), stop)
        assert runner.map(double, [1]) == [2]


def test_progress_can_interrupt_while_nothing_ends():
    release = threading.Event()

    def stop(_):
        raise StopNowError

    with Runner(make_executor_factory("threads", 1)) as runner, pytest.raises(StopNowError):
        runner.map(lambda _: release.wait(60), [1], stop)
    release.set()


def test_results_are_reported_as_soon_as_they_are_final():
    seen: list[tuple[int, object]] = []
    with Runner(make_executor_factory("serial", 1)) as runner:
        results = runner.map(fail_on_odd, range(4), on_result=lambda i, r: seen.append((i, r)))
    assert dict(seen) == dict(enumerate(results))
    assert len(seen) == 4


def test_keyboard_interrupt_is_never_a_failure():
    def interrupted(_):
        raise KeyboardInterrupt

    with Runner(make_executor_factory("serial", 1)) as runner, pytest.raises(KeyboardInterrupt):
        runner.map(interrupted, [1])


def test_processes_are_persistent_single_threaded_and_without_torch():
    with Runner(make_executor_factory("processes", 1)) as runner:
        first = runner.map(environment, [0, 1])
        second = runner.map(environment, [2])
    threads, torch_loaded, pid = first[0]
    assert (threads, torch_loaded) == ("1", False)
    assert pid != os.getpid()
    assert {result[2] for result in first + second} == {pid}
    assert not [child for child in multiprocessing.active_children() if child.pid == pid]


def make_pool() -> Executor:
    return ThreadPoolExecutor(2)


def broken_factory() -> Executor:
    raise ConnectionError("no scheduler")


def test_users_own_executor_by_name():
    factory = make_executor_factory("concurrent.futures:ThreadPoolExecutor", 2)
    with Runner(factory) as runner:
        assert runner.map(partial(pow, 2), [1, 2, 3]) == [2, 4, 8]


def test_plain_function_is_a_factory():
    with Runner(make_pool, workers=2) as runner:
        assert runner.map(double, [1, 2, 3]) == [2, 4, 6]


def test_executor_that_cannot_start_is_our_error():
    with Runner(broken_factory) as runner, pytest.raises(EvaluationError, match="no scheduler"):
        runner.map(double, [1])


@pytest.mark.parametrize(
    ("name", "workers", "message"),
    [
        ("proceses", 1, "unknown"),
        ("no_such_module:make", 1, "no_such_module"),
        ("math:no_such_function", 1, "no_such_function"),
        ("math:pi", 1, "not a function"),
        (":make", 1, "module:function"),
        ("threads", 0, "at least 1"),
    ],
)
def test_bad_executor_names_are_config_errors(name, workers, message):
    with pytest.raises(ConfigError, match=message):
        make_executor_factory(name, workers)


def test_execution_imports_without_torch_or_pymatgen():
    code = (
        "import sys, matinvent.execution.runner, matinvent.execution.executors;"
        "print([m for m in ('torch', 'pymatgen', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
