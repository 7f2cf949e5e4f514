"""Which threads wait for something, and which are at work though they do not run."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace

import pytest

from oom_suite.tracing import turns as turns_module
from oom_suite.tracing.turns import ASLEEP, ShortSwitches, Waiting, _status

PROOF_S = 0.004
"""How long a thread must not have run, though it could have had the interpreter."""


BLIND_S = 0.05
"""How long it must have asked for nothing, on a system that does not say whether it runs."""


def said(thread, expected, seconds=5.0):
    """Whether `Waiting` comes to say that of a thread."""
    waiting, until = Waiting(), time.monotonic() + seconds
    with ShortSwitches():
        while time.monotonic() < until:
            if waiting.is_waiting(thread) is expected:
                return True
            time.sleep(0.0003)
    return False


@pytest.fixture
def started():
    """A function that starts a thread, which is told to end when the test is over."""
    done = threading.Event()

    def start(body):
        thread = threading.Thread(target=body, args=(done,), daemon=True)
        thread.start()
        return thread

    yield start
    done.set()


def spins(done):
    while not done.is_set():
        pass


def test_a_thread_that_waits_for_another_waits(started):
    assert said(started(lambda done: done.wait()), expected=True)


def test_one_that_waits_for_the_interpreter_alone_is_at_work(started):
    """It cannot run while this one does, and yet nobody need wake it."""
    threads = [started(spins), started(spins)]
    assert not said(threads[0], expected=True, seconds=0.3)


def test_one_that_sleeps_waits_and_goes_on_by_itself(started):
    thread = started(spins)
    ASLEEP.add(thread.ident)
    try:
        assert Waiting().is_waiting(thread)
    finally:
        ASLEEP.discard(thread.ident)


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([("S", 5, 0.0), ("S", 5, PROOF_S)], [False, True]),
        ([("S", 5, 1.0), ("S", 5, 1.0 + PROOF_S * 0.99)], [False, False]),
        ([("S", 5, 0.0), ("S", 6, 1.0), ("S", 6, 1.0 + PROOF_S)], [False, False, True]),
        # While it runs is no part of its wait, whether or not it has ever waited.
        ([("R", 0, 0.0), ("S", 0, 1.0), ("S", 0, 2.0)], [False, False, True]),
        ([("R", 5, 0.0), ("S", 5, 1.0), ("S", 5, 2.0)], [False, False, True]),
        ([("S", 5, 0.0), ("R", 5, 1.0), ("S", 5, 2.0)], [False, False, False]),
        ([(None, 0, 0.0), (None, 0, BLIND_S)], [False, True]),
        ([(None, 0, 1.0), (None, 0, 1.0 + BLIND_S * 0.99)], [False, False]),
    ],
    ids=[
        *("long enough", "less", "woken", "from its start", "after a wait", "in between"),
        *("blind", "not long enough"),
    ],
)
def test_a_thread_waits_when_it_has_not_run_for_long_enough(started, monkeypatch, looks, expected):
    """By what the system says of it: its state, and how often it gave the processor away."""
    thread, waiting, found = started(lambda done: done.wait()), Waiting(), []
    for state, num_switches, now in looks:
        said = None if state is None else (state, num_switches)
        monkeypatch.setattr(turns_module, "_status", lambda _, said=said: said)
        monkeypatch.setattr(turns_module, "time", SimpleNamespace(monotonic=lambda now=now: now))
        found.append(waiting.is_waiting(thread))
    assert expected == found


@pytest.mark.parametrize(
    ("ident", "number"),
    [(None, 5), (-8, None), (-7, 5)],
    ids=["no ident", "no number", "starts one"],
)
def test_one_that_is_being_started_or_starts_another_is_at_work(monkeypatch, ident, number):
    """However long: it goes on by itself."""
    thread, waiting = (
        SimpleNamespace(is_alive=lambda: True, ident=ident, native_id=number),
        Waiting(),
    )
    monkeypatch.setattr(turns_module, "STARTING", {-7})
    monkeypatch.setattr(turns_module, "_status", lambda _: ("S", 5))
    for now in (0.0, 1.0, 2.0):
        monkeypatch.setattr(turns_module, "time", SimpleNamespace(monotonic=lambda now=now: now))
        assert not waiting.is_waiting(thread)


def test_one_that_has_ended_waits(started):
    thread = started(lambda done: None)
    thread.join()
    assert Waiting().is_waiting(thread)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_main_thread_that_is_at_work_is_so_in_a_fork_too():
    """There Python gives it a number that no thread has: nobody would ever see it run."""
    child = os.fork()
    if child == 0:
        found = []
        asks = threading.Thread(
            target=lambda: found.append(said(threading.main_thread(), expected=True, seconds=0.1))
        )
        asks.start()
        while not found:
            pass
        os._exit(found[0])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Name:\tx\nState:\tR (running)\nvoluntary_ctxt_switches:\t12\nnon:\t3\n", ("R", 12)),
        ("Name:\tx\nState:\tS (sleeping)\n", None),
        (None, ("S", 0)),
    ],
    ids=["said", "not said", "gone"],
)
def test_what_the_system_says_of_a_thread(tmp_path, monkeypatch, text, expected):
    """Its state and its switches; one that is gone is at no work."""
    monkeypatch.setattr(turns_module, "_TASKS", tmp_path)
    if text is not None:
        (tmp_path / "7").mkdir()
        (tmp_path / "7" / "status").write_text(text)
    assert expected == _status(7)
    monkeypatch.setattr(turns_module, "_TASKS", tmp_path / "elsewhere")
    assert _status(7) is None
