"""Whoever started a process takes it along, however it goes itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from fixtures.processes import HandlingChild
from oom_suite.processes import ending
from oom_suite.processes.ending import Interrupted, Life, end_all, heard_signals, threads

_HOLDER = """
import os, signal, subprocess, sys, time
from oom_suite.processes import ending
from oom_suite.processes.forked import in_fork

def hang():
    print(os.getpid(), flush=True)
    while True:  # as compiled code that never gives Python a turn
        pass

def group():
    life = ending.Life()
    if os.fork() == 0:
        os.setsid()
        life._open[0].close()
        ending.live_by(life.handed.fileno(), with_group=True)
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(other.pid, flush=True)
        hang()
    life.handed_over()
    time.sleep(600)
"""


def started(source):
    """A process that runs this after the holder's code, and the ids that it prints."""
    return subprocess.Popen(
        [sys.executable, "-c", _HOLDER + source], stdout=subprocess.PIPE, text=True
    )


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def waited_for(is_so, limit_s=10.0):
    """Whether it came to be so; a machine with other work is given time."""
    until = time.monotonic() + limit_s
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


@pytest.mark.parametrize(
    ("source", "num_pids"),
    [("group()", 2), ("in_fork(hang, 600.0)", 1)],
    ids=["a group", "a fork that works"],
)
def test_what_hangs_dies_with_a_holder_that_is_killed(source, num_pids):
    """With all that it started, though nothing in it ever runs again; and not before."""
    holder = started(source)
    try:
        pids = [int(holder.stdout.readline()) for _ in range(num_pids)]
        assert all(is_alive(pid) for pid in pids)
        holder.kill()
        assert waited_for(lambda: not any(is_alive(pid) for pid in pids))
    finally:
        holder.kill()
        holder.communicate()


def test_a_life_that_is_over_before_it_is_given_is_an_end_at_once():
    """The holder may go while the process is being started."""
    life = Life()
    pid = os.fork()
    if pid == 0:
        life._open[0].close()
        os.read(life.handed.fileno(), 1)  # nothing comes before the holder is gone
        ending.live_by(life.handed.fileno(), with_group=False)
        os._exit(0)
    life.end()
    assert -signal.SIGKILL == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def ended_run():
    """A run that a signal ended; the next test's is another."""
    yield
    ending.begin_again()


def test_who_waits_for_a_child_learns_that_the_run_was_ended(ended_run):
    """Not that the child was killed: that would be taken for a verdict on its subject."""
    with HandlingChild("fixtures.processes:sleeper", (), time_limit_s=60.0) as child:
        child.ask(0.0)
        with threads(1) as pool:
            waiting = pool.submit(child.ask, 60.0)
            end_all(signal.SIGTERM)
            with pytest.raises(Interrupted) as caught:
                waiting.result(timeout=20)
    assert 143 == caught.value.exit_code
    assert "interrupted by SIGTERM; no process is left" == str(caught.value)


def test_no_child_is_started_for_a_run_that_was_ended(ended_run):
    end_all(signal.SIGINT)
    with pytest.raises(Interrupted):
        HandlingChild("fixtures.processes:sleeper", (), time_limit_s=60.0)
    ending.begin_again()
    with HandlingChild("fixtures.processes:sleeper", (), time_limit_s=60.0) as child:
        assert "slept" == child.ask(0.0)


def wait_while(thread):
    """Wait for something else, as a run does while its threads work."""
    with heard_signals():
        thread.start()
        threading.Event().wait(30.0)


@pytest.mark.usefixtures("interruptible", "ended_run")
@pytest.mark.parametrize("whom", ["main", "other"])
def test_a_signal_is_heard_though_it_interrupts_no_wait(whom):
    """One that another thread got; one that came just before the wait is as lost to it."""

    def send():
        main = threading.main_thread().ident
        while sys._current_frames()[main].f_code is not threading.Condition.wait.__code__:
            time.sleep(0.01)
        time.sleep(0.1)  # from the line to the wait itself
        waiting = threading.main_thread() if whom == "main" else threading.current_thread()
        signal.pthread_kill(waiting.ident, signal.SIGINT)

    began, thread = time.monotonic(), threading.Thread(target=send)
    with pytest.raises(Interrupted) as caught:
        wait_while(thread)
    thread.join()
    assert 130 == caught.value.exit_code
    assert time.monotonic() - began < 15.0


@pytest.mark.usefixtures("interruptible", "ended_run")
def test_what_is_ignored_stays_ignored_and_all_is_put_back():
    """As under nohup, or in the background of a script."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        before = signal.getsignal(signal.SIGINT)
        with heard_signals():
            assert signal.SIG_IGN is signal.getsignal(signal.SIGTERM)
            assert before is not signal.getsignal(signal.SIGINT)
        assert before is signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert -1 == signal.set_wakeup_fd(-1)


def raise_beside(work, error):
    """The future of the work, once the error has left the pool that does it."""
    futures = []
    try:
        with threads(1) as pool:
            futures.append(pool.submit(work))
            raise error
    except type(error):
        return futures[0]


def test_threads_are_waited_for_unless_somebody_interrupts():
    """Work that cannot be stopped holds up an error, and no interrupt."""
    gate = threading.Event()
    assert raise_beside(lambda: gate.wait(0.05), ValueError()).done()
    for interrupt in (KeyboardInterrupt(), Interrupted(signal.SIGINT)):
        going_on = raise_beside(gate.wait, interrupt)
        assert not going_on.done()
        gate.set()
        assert going_on.result()
        gate.clear()
