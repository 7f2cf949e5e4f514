"""Whose turn it is, who is waited for, and what is held while others may still have it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from oom_suite.tracing import turns as turns_module
from oom_suite.tracing.overlaps import Overlaps
from oom_suite.tracing.turns import ASLEEP, Turns, _Hold


def test_a_thread_that_was_interrupted_at_the_gate_waits_there_again():
    """It has not entered: its next operator waits for its turn as the first did."""
    asked = []

    def others():
        asked.append(None)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return []

    turns = Turns(others, Overlaps())
    with pytest.raises(KeyboardInterrupt):
        turns.enter(0)
    assert (0, {}) == (turns.num_threads, turns._gate)
    turns.enter(0)
    assert 1 == turns.num_threads


class Noted(Overlaps):
    """Holds what it is told to, and notes what is released."""

    def __init__(self, held=()):
        super().__init__()
        self.held, self.released = list(held), []

    def hold(self, since):
        return self.held

    def release(self, held):
        self.released += held


def test_a_thread_that_has_waited_holds_nothing_of_whom_it_waited_for():
    """And all that it holds where anybody may have woken it; another thread's stays."""
    overlaps = Noted()
    turns = Turns(list, overlaps)
    turns._holds = [_Hold(1, {2, 3}, ["of 1"]), _Hold(2, {1}, ["of 2"])]
    turns.release(1, 2)
    assert [] == overlaps.released
    turns.release(1, 3)
    assert ["of 1"] == overlaps.released
    turns._holds.append(_Hold(1, {2, 3}, ["of 1 again"]))
    turns.release(1)
    assert ["of 1", "of 1 again"] == overlaps.released
    assert [2] == [hold.ident for hold in turns._holds]


def test_an_operator_inside_another_waits_for_no_turn():
    """The next one does."""
    turns = Turns(list, Noted())
    for num_passed in (1, 2):
        turns.enter(0)
        turns.enter(0)
        turns.leave()
        turns.leave()
        assert num_passed == turns._num_passed


class Known:
    """Says of a thread what it was told."""

    def __init__(self, *, is_waiting):
        self.said = is_waiting

    def is_waiting(self, _thread):
        return self.said

    def forget(self, ident):
        pass


def turns_beside(other, *, is_waiting):
    turns = Turns(lambda: [(other, 1)], Noted())
    turns.waiting = Known(is_waiting=is_waiting)
    return turns


@pytest.mark.parametrize(
    ("at_gate", "spinning", "beside", "is_waiting", "expected"),
    [
        ((), (), (), False, False),
        ((7,), (), (), False, True),
        ((), (7,), (), False, True),
        ((), (), (7,), False, True),
        ((), (), (), True, True),
    ],
    ids=["at work", "at the gate", "asking again and again", "settling", "waiting"],
)
def test_all_are_quiet_when_none_is_at_work(at_gate, spinning, beside, is_waiting, expected):
    turns = turns_beside(SimpleNamespace(ident=7), is_waiting=is_waiting)
    turns._gate, turns._spinning = dict.fromkeys(at_gate, 1), set(spinning)
    assert expected is turns._are_quiet(1, beside)
    assert turns._are_quiet(7), "who asks is no other"


def test_who_works_for_long_away_from_the_gate_is_waited_for_no_longer(monkeypatch):
    """It may wait by asking again and again; one that is being started has no number yet."""
    monkeypatch.setattr(turns_module, "_BUSY_S", -1.0)
    others = [(SimpleNamespace(ident=each), 1) for each in (7, 8, None)]
    turns, answers = Turns(lambda: others, Noted()), iter([False, True])
    turns._gate = {8: 1}
    turns._until(1, lambda: next(answers))
    assert {7, 0} == turns._spinning


def timer(*, is_over):
    made = threading.Timer(60, int)
    if is_over:
        made.finished.set()
    return made


@pytest.mark.parametrize(
    ("thread", "is_at_gate", "is_waiting", "expected"),
    [
        (SimpleNamespace(ident=7), False, True, False),
        (SimpleNamespace(ident=7), False, False, True),
        (SimpleNamespace(ident=7), True, True, True),
        (SimpleNamespace(ident=8), True, True, False),
        (timer(is_over=False), False, True, True),
        (timer(is_over=True), False, True, False),
    ],
    ids=["waits", "works", "at the gate", "another at the gate", "a timer", "a timer that is over"],
)
def test_who_goes_on_by_itself_is_waited_for_at_the_end(thread, is_at_gate, is_waiting, expected):
    turns = turns_beside(thread, is_waiting=is_waiting)
    turns._gate = dict.fromkeys([7] * is_at_gate, 1)
    assert [thread] * expected == turns._busy()


def test_one_that_sleeps_is_waited_for_at_the_end():
    turns = turns_beside(SimpleNamespace(ident=-7), is_waiting=True)
    assert [] == turns._busy()
    ASLEEP.add(-7)
    try:
        assert 1 == len(turns._busy())
        assert 1 == len(turns.finish(seconds=-1))
    finally:
        ASLEEP.discard(-7)
    assert {} == turns._gate


@pytest.mark.parametrize(
    ("gate", "number", "goes"),
    [({1: 3}, 3, True), ({1: 3, 2: 2}, 3, True), ({1: 3, 2: 4}, 3, False)],
    ids=["alone", "before an older one", "after a younger one"],
)
def test_of_those_at_the_gate_the_youngest_goes(gate, number, goes):
    """Who has gone stands there no more."""
    turns = Turns(list, Noted())
    turns._gate = dict(gate)
    assert goes is turns._goes(1, number)
    assert goes is (1 not in turns._gate)


def test_a_call_that_is_over_holds_nothing():
    """Its threads have ended, or wait: the one that made it has waited for all of them."""
    overlaps = Noted()
    turns = Turns(list, overlaps)
    turns._holds = [_Hold(threading.get_ident(), {2}, ["held"])]
    assert [] == turns.finish(seconds=1)
    assert (["held"], [], {}) == (overlaps.released, turns._holds, turns._gate)


@pytest.mark.parametrize(
    ("is_at_gate", "is_alive", "released"),
    [(True, True, []), (True, False, ["held"]), (False, True, ["held"]), (False, False, ["held"])],
)
def test_a_thread_holds_while_it_stands_at_the_gate(is_at_gate, is_alive, released):
    """One that goes on, or has ended, holds nothing any more when the next has its turn."""
    overlaps = Noted()
    turns = Turns(lambda: [(SimpleNamespace(ident=7), 1)] * is_alive, overlaps)
    turns._holds = [_Hold(7, {8}, ["held"])]
    turns._gate = dict.fromkeys([7] * is_at_gate, 1)
    turns._went_on(1, (), 0)
    assert released == overlaps.released


@pytest.mark.parametrize(("num_passed", "sources"), [(0, {2, 3}), (1, {3}), (2, None)])
def test_a_thread_holds_what_those_had_who_passed_while_it_stood_there(num_passed, sources):
    """The first to pass was number 1; who passed before it came had nothing of then."""
    turns = Turns(list, Noted(["held"]))
    turns._last, turns._num_passed = {1: 2, 2: 1, 3: 2}, 2
    turns._went_on(1, (), num_passed)
    assert [sources] * (sources is not None) == [hold.sources for hold in turns._holds]
    assert 3 == turns._last[1]
