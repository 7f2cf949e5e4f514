"""A limit for all runs of a test: what it ends, and what is known then."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch

from oom_suite.errors import LaneError, TimeSpentError
from oom_suite.pipeline.judging import study
from oom_suite.pipeline.law_tests import promise
from oom_suite.pipeline.programs import CallableProgram
from oom_suite.pipeline.session import Limits, Session
from oom_suite.pipeline.unfinished import MORE_TIME
from oom_suite.processes.askers import Respawning
from oom_suite.records import Verdict

HERE = Path(__file__).parent


def judged(build, whole_limit_s, **promises):
    made = promise(**promises)
    settings = made.settings("cpu", None, 60.0, whole_limit_s)
    with Session.of(settings) as session:
        return study(session.open(CallableProgram(build, HERE), "subject"), "subject", settings)


class Slow:
    """Takes what it says; its n-th run in this process waits until the time of all is over."""

    def __init__(self, num_runs, num_bytes):
        self.num_left, self.num_bytes = num_runs, num_bytes
        self.is_spent = threading.Event()
        self.process = os.getpid()

    def __call__(self, sizes, device):
        def call():
            # Forks tell whether the code keeps state; their calls are none of those.
            if os.getpid() == self.process:
                self.num_left -= 1
                if self.num_left == 0:
                    self.is_spent.wait(60)
            return torch.empty(self.num_bytes(sizes), dtype=torch.uint8, device=device)

        return call


@pytest.fixture
def after(monkeypatch):
    """`after(num_runs)`: a subject during whose n-th run the time is over; never for 0."""

    def made(num_runs):
        slow = Slow(num_runs, lambda sizes: 8 * sizes.n)

        def end_in_time(session):
            while slow.num_left or not num_runs:
                if session._is_over.wait(0.001):
                    return
            session._is_spent.set()
            slow.is_spent.set()

        monkeypatch.setattr(Session, "_end_in_time", end_in_time)
        return slow

    return made


def test_what_the_runs_have_shown_is_known_when_the_time_is_over(after):
    found = judged(after(3), 60.0, axes={"n": 64}, at_most="8*n + 8").result
    assert Verdict.INCONCLUSIVE is found.verdict
    assert found.reason == (
        "the 60 s of the whole test are over; no law was found yet: 3 exact runs were made by "
        "then, and the largest peak is 1,536 bytes at n=192; all of them are within the bound"
    )
    assert (MORE_TIME,) == found.advice
    assert 512 == found.peak_requested_bytes


def test_a_run_over_the_bound_is_named_though_there_is_no_law(after):
    found = judged(after(1), 60.0, axes={"n": 64}, at_most="4*n").result
    assert Verdict.INCONCLUSIVE is found.verdict
    assert found.reason.endswith(
        "no law was found yet: 1 exact run was made by then, and the largest peak is 512 bytes at "
        "n=64; 512 bytes at n=64 are over the bound, 256 there"
    )


def test_a_broken_promise_stays_broken_when_the_time_is_over(after, monkeypatch):
    """It is over after the law was found, and before the device has been asked."""
    monkeypatch.setattr("oom_suite.pipeline.judging.with_host", raise_spent)
    found = judged(after(0), 60.0, axes={"n": 64}, independent_of="n")
    assert Verdict.FAIL is found.result.verdict
    assert found.result.reason.endswith("; all over")
    assert "8*n" == str(found.result.law)


def test_a_kept_promise_is_not_green_when_the_time_is_over(after, monkeypatch):
    monkeypatch.setattr("oom_suite.pipeline.judging.with_host", raise_spent)
    found = judged(after(0), 60.0, axes={"n": 64}, at_most="8*n").result
    assert (Verdict.INCONCLUSIVE, "all over") == (found.verdict, found.reason)
    assert MORE_TIME in found.advice
    assert "8*n" == str(found.law)


def raise_spent(*_):
    raise TimeSpentError("all over")


def test_enough_time_changes_nothing(after):
    found = judged(after(0), 600.0, axes={"n": 64}, at_most="8*n").result
    assert Verdict.PASS is found.verdict


def test_children_are_ended_when_the_time_is_over(monkeypatch):
    """Again and again: one that was just being started is ended as well."""
    killed, are_two = [], threading.Event()

    def kill(child):
        killed.append(child)
        if len(killed) == 2:
            are_two.set()

    monkeypatch.setattr(Respawning, "kill", kill)
    with Session(Limits(whole_limit_s=0.01)) as session:
        child = session.child()
        assert are_two.wait(60)
        with pytest.raises(TimeSpentError), session.in_time():
            pass
    assert [child, child] == killed[:2]


def test_a_refusal_after_the_time_is_over_is_the_end_of_it():
    """The child was killed for it: no run is refused for a reason of its own."""

    def refused(session):
        with session.in_time():
            session._is_spent.set()
            raise LaneError("killed")

    with Session(Limits(whole_limit_s=60.0)) as session, pytest.raises(TimeSpentError):
        refused(session)
