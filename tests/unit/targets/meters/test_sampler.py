"""The thread that reads what has no peak counter."""

from __future__ import annotations

import threading

import pytest

from oom_suite.records.measurement import Reading
from oom_suite.targets.meters import sampler
from oom_suite.targets.meters.sampler import Sampler


class Scripted:
    """A meter that says one figure after the other, and tells when it has said the last."""

    name = "scripted"
    is_sampled = True
    steady = frozenset()

    def __init__(self, *said):
        self.said = list(said)
        self.done = threading.Event()

    def close(self):
        raise OSError("closing fails too")

    def read(self):
        if len(self.said) == 1:
            self.done.set()
        value = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(value, Exception):
            raise value
        return (Reading(self.name, "used", value),)


def sampled(*meters):
    thread = Sampler(meters, interval_s=0.0)
    thread.start()
    for meter in meters:
        assert meter.done.wait(30)
    return thread.stop()


def test_the_largest_figure_is_kept():
    """Not the last one."""
    assert {("scripted", "used"): 9} == sampled(Scripted(1, 9, 2, 3)).peaks


def test_a_figure_that_is_left_out_for_once_is_no_zero():
    """The others count."""
    assert {("scripted", "used"): 5} == sampled(Scripted(5, None, 4)).peaks


def test_a_meter_that_fails_midway_is_named_and_the_others_go_on():
    """Its reason is what it raised."""
    broken, sound = Scripted(1, OSError("gone")), Scripted(1, 2, 3)
    broken.name = "broken"
    samples = sampled(broken, sound)
    assert {"broken": "it failed midway: OSError: gone"} == samples.failures
    assert 3 == samples.peaks["scripted", "used"]


def test_the_rounds_and_the_longest_blind_spot_are_said():
    """From the start to the stop, both of which the caller reads itself."""
    samples = sampled(Scripted(1, 2, 3))
    assert samples.num_rounds >= 2
    assert samples.widest_ms >= samples.mean_ms > 0


def test_without_a_meter_there_is_no_thread():
    """Nothing to read, nothing to join."""
    thread = Sampler((), 0.0)
    before = threading.active_count()
    thread.start()
    assert before == threading.active_count()
    assert 0 == thread.stop().num_rounds


def test_the_thread_is_gone_after_the_stop():
    """It was joined."""
    sampled(Scripted(1, 2))
    assert "oom-suite-meters" not in {one.name for one in threading.enumerate()}


def test_a_read_that_never_returns_is_named(monkeypatch):
    """The stop does not wait for ever."""
    monkeypatch.setattr(sampler, "_JOIN_LIMIT_S", 0.05)
    release, inside = threading.Event(), threading.Event()

    class Hanging(Scripted):
        def read(self):
            inside.set()
            release.wait(30)
            return ()

    thread = Sampler((Hanging(1),), 0.0)
    thread.start()
    assert inside.wait(30)
    failures = thread.stop().failures
    release.set()
    assert {"scripted": "a read did not return within 0.05 s"} == failures


@pytest.mark.parametrize(("took_s", "expected"), [(0.0, 0.002), (0.01, 0.09)])
def test_the_thread_rests_nine_times_as_long_as_it_reads(took_s, expected):
    """Its cost is a tenth of one core at most."""
    assert expected == pytest.approx(sampler.rest_s(0.002, took_s))
