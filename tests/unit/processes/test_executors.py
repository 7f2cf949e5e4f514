"""A fork in which code under test finds its executors of threads as it left them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from oom_suite.processes.executors import executors_with_threads
from oom_suite.processes.forked import in_fork

LIMIT_S = 20.0


@pytest.fixture(params=[1, 3])
def executor(request):
    """One whose threads run."""
    with ThreadPoolExecutor(request.param) as made:
        started = threading.Barrier(request.param)
        for each in [made.submit(started.wait) for _ in range(request.param)]:
            each.result()
        yield made


def test_an_executor_works_in_a_fork_and_goes_on_here(executor):
    """In one fork after the other; without its threads a fork would wait for ever."""
    assert [42, 42] == [in_fork(lambda: executor.submit(int, "42").result(), LIMIT_S) for _ in "ab"]
    assert 42 == executor.submit(int, "42").result()


def test_what_an_executor_was_doing_is_not_done_again_in_a_fork(executor):
    """Neither by a thread that was at it nor from its queue."""
    done, go_on = [], threading.Event()
    waiting = [executor.submit(lambda: (go_on.wait(), done.append(1))) for _ in range(6)]

    def seen_there():
        go_on.set()
        executor.submit(int).result()
        return len(done)

    assert 0 == in_fork(seen_there, LIMIT_S)
    go_on.set()
    for each in waiting:
        each.result()
    assert 6 == len(done)


def test_as_many_threads_as_before_start_in_a_fork(executor):
    """Each of them waits until all have come."""

    def met():
        all_here = threading.Barrier(executor._max_workers, timeout=LIMIT_S / 2)
        tasks = [executor.submit(all_here.wait) for _ in range(executor._max_workers)]
        return len({each.result() for each in tasks})

    assert executor._max_workers == in_fork(met, LIMIT_S)


def test_a_lock_that_a_thread_held_is_free_in_a_fork(executor):
    """As where it was about to hand out work."""
    with executor._shutdown_lock:
        assert 7 == in_fork(lambda: executor.submit(int, "7").result(), LIMIT_S)


def test_executors_are_found_once_while_their_threads_run(executor):
    """Whatever other threads there are."""
    before = executors_with_threads()
    assert 1 == sum(one is executor for one in before)
    executor.shutdown()
    assert not any(one is executor for one in executors_with_threads())
