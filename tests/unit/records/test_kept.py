"""When what calls leave alive is taken for growth, and when it has come to its end."""

from __future__ import annotations

import pytest

from oom_suite.records import Allocation, Event, Frame, Trace
from oom_suite.records.kept import RepeatedCalls, grows, is_settled, line_of, steps_of


def ring(size, num_calls):
    return [min(number, size) for number in range(1, num_calls + 1)]


def emptied_every(period, num_calls):
    return [number % period for number in range(1, num_calls + 1)]


@pytest.mark.parametrize(
    ("live_bytes", "expected"),
    [
        ([], False),
        ([0] * 8, False),
        ([5] * 8, False),
        (ring(4, 8), False),
        (ring(5, 8), True),
        (emptied_every(4, 8), False),
        (emptied_every(6, 8), True),
        (list(range(8)), True),
    ],
    ids=["none", "nothing", "once", "ring", "wider ring", "emptied", "emptied late", "leak"],
)
def test_growth_is_more_in_the_later_half_than_ever_before(live_bytes, expected):
    assert expected is grows(live_bytes)


@pytest.mark.parametrize(
    ("live_bytes", "expected"), [([5] * 7, False), ([5] * 8, True), (ring(5, 8), False)]
)
def test_calls_go_on_for_eight_times_and_while_something_grows(live_bytes, expected):
    assert expected is is_settled([[0] * len(live_bytes), live_bytes])


@pytest.mark.parametrize(
    ("live_bytes", "expected"),
    [
        (ring(224, 256), {}),
        (ring(225, 256), {"device": 97 / 128}),
        (list(range(512, 512 * 257, 512)), {"device": 512.0}),
        (emptied_every(100, 256), {}),
    ],
    ids=["ring of seven eighths", "ring of one more", "leak", "emptied"],
)
def test_a_leak_is_what_still_grows_in_the_last_eighth(live_bytes, expected):
    """Its bytes a call are the mean over the later half."""
    calls = RepeatedCalls({"device": live_bytes, "host": [0] * 256}, ())
    assert (expected, 256) == (calls.leaks, calls.num_calls)


def test_marks_cut_a_trace_into_steps():
    """What comes before the first mark belongs to no step."""
    order = ["0a", "0f", "1a", "2a", "2f"]
    kinds = {"a": "alloc", "f": "free"}
    events = tuple(Event(kinds[one[1]], int(one[0])) for one in order)
    trace = Trace("shadow", {}, (Allocation(7, "aten::empty", ()),) * 3, events, marks=(2, 3, 5, 5))
    assert [[1], [2, 2], []] == [[event.allocation for event in step] for step in steps_of(trace)]


def test_the_line_of_most_bytes_is_named():
    one, other = (Frame("a.py", line, "f") for line in (1, 2))
    allocations = [Allocation(3, "x", (one,)), Allocation(2, "x", (other,)), Allocation(9, "x", ())]
    allocations += [Allocation(2, "y", (other, one))]
    assert (other, None) == (line_of(allocations), line_of(allocations[2:3]))
