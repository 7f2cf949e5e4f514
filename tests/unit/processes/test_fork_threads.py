"""What code under test finds of its threads in a fork."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from oom_suite.errors import LaneError
from oom_suite.processes import forked
from oom_suite.processes.fork_threads import LeftBehind
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


def test_an_executor_is_found_once_while_its_threads_run(executor):
    """Whatever other threads there are."""
    assert 1 == sum(one is executor for one in LeftBehind.by_a_fork().executors)
    executor.shutdown()
    assert not any(one is executor for one in LeftBehind.by_a_fork().executors)


@pytest.fixture
def server():
    """A queue, and a thread that answers what is put there, until None is."""
    tasks, done = queue.Queue(), queue.Queue()

    def serve():
        while (task := tasks.get()) is not None:
            done.put(task())

    thread = threading.Thread(target=serve)
    thread.start()
    yield lambda task: (tasks.put(task), done.get())[1]
    tasks.put(None)
    thread.join()


def test_who_waits_for_a_thread_that_a_fork_lacks_is_told_so_long_before_the_limit(
    server, monkeypatch
):
    """By what the thread runs, with file and line."""
    monkeypatch.setattr(forked, "_LOOK_S", 0.05)
    monkeypatch.setattr(forked, "_STILL_S", 0.3)
    assert 7 == server(lambda: 7)
    found = (
        r"did nothing for 0\.3 s in a fork, .* ran before: .*server\.<locals>\.serve \(test_fork_"
    )
    with pytest.raises(LaneError, match=found):
        in_fork(lambda: server(lambda: 7), 600.0)


@pytest.mark.usefixtures("server")
def test_who_works_on_without_the_threads_is_left_to(monkeypatch):
    """Though it be by a process of its own, for longer than anyone may do nothing."""
    monkeypatch.setattr(forked, "_LOOK_S", 0.05)
    monkeypatch.setattr(forked, "_STILL_S", 2.0)
    busy = "import time; until = time.monotonic() + 3\nwhile time.monotonic() < until: pass"
    assert 0 == in_fork(lambda: subprocess.call([sys.executable, "-c", busy]), LIMIT_S)


@pytest.mark.usefixtures("server")
def test_the_limit_holds_where_threads_are_missing():
    """As it does where none are."""
    busy = "while True: pass"
    with pytest.raises(LaneError, match=r"the step took more than 1\.5 s"):
        in_fork(lambda: exec(busy), 1.5)


def test_threads_of_the_suite_itself_are_not_missed():
    """No step waits for them."""
    stop = threading.Event()

    def watch():
        stop.wait()

    watch.__module__ = "oom_suite.pipeline.session"
    thread = threading.Thread(target=watch)
    thread.start()
    assert not any("watch" in one for one in LeftBehind.by_a_fork().others)
    stop.set()
    thread.join()
