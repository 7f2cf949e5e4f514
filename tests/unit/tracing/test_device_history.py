"""Allocator entries as torch records them, read as a trace."""

from __future__ import annotations

import pytest

from oom_suite.errors import LaneError
from oom_suite.records import Frame
from oom_suite.tracing.measure import device_history
from oom_suite.tracing.measure.device_history import read_history


def entry(action, addr, size=8, **more):
    return {"action": action, "addr": addr, "size": size, **more}


def stack_of(frames):
    return tuple(Frame(each["filename"], each["line"], each["name"]) for each in frames)


def read(*entries, num_in_call=None):
    within = len(entries) if num_in_call is None else num_in_call
    return read_history(entries, stack_of, within, "cuBLAS workspace")


def events(history):
    return [(each.kind, each.allocation) for each in history.events]


def test_a_request_keeps_its_size_and_its_lines():
    frames = [{"filename": "a.py", "line": 3, "name": "f"}]
    history = read(entry("alloc", 64, 7, frames=frames))
    (made,) = history.allocations
    assert (7, "allocator", (Frame("a.py", 3, "f"),)) == (
        made.requested_bytes,
        made.op,
        made.stack,
    )


def test_memory_is_free_when_it_can_be_given_away_again():
    """A block that another stream still uses is asked to be freed, and is not free yet."""
    history = read(entry("alloc", 64), entry("free_requested", 64))
    assert [("alloc", 0)] == events(history)
    history = read(entry("alloc", 64), entry("free_requested", 64), entry("free_completed", 64))
    assert [("alloc", 0), ("free", 0)] == events(history)


def test_an_address_that_is_used_again_is_another_allocation():
    history = read(
        entry("alloc", 64, 8),
        entry("free_completed", 64, 8),
        entry("alloc", 64, 9),
        entry("free_completed", 64, 9),
    )
    assert [("alloc", 0), ("free", 0), ("alloc", 1), ("free", 1)] == events(history)


def test_frees_of_what_was_there_before_are_left_out():
    assert [("alloc", 0)] == events(read(entry("free_completed", 32), entry("alloc", 64)))


@pytest.mark.parametrize("action", ["segment_alloc", "segment_free", "snapshot", "oom"])
def test_what_is_no_request_is_left_out(action):
    more = {"device_free": 5} if action == "oom" else {"addr": 64}
    assert [] == events(read({"action": action, "size": 8, **more}))


def test_what_clearing_frees_is_a_workspace_only_if_the_call_made_it():
    history = read(
        entry("alloc", 64, 8),
        entry("alloc", 128, 9),
        entry("free_requested", 128, 9),
        entry("free_completed", 128, 9),
        entry("free_requested", 32, 5),
        num_in_call=2,
    )
    assert ["allocator", "cuBLAS workspace"] == [each.op for each in history.allocations]
    assert [("alloc", 0), ("alloc", 1)] == events(history)


@pytest.mark.parametrize(
    ("action", "op"),
    [
        ("free_requested", "cuBLAS workspace"),
        ("free_completed", "allocator"),
        ("alloc", "allocator"),
        ("segment_free", "allocator"),
    ],
)
def test_clearing_asks_for_a_workspace_to_be_freed(action, op):
    """The asking tells; what else happens at that address meanwhile does not."""
    history = read(entry("alloc", 64, 8), entry(action, 64, 8), num_in_call=1)
    assert [op] == [each.op for each in history.allocations]


def test_a_history_that_may_be_cut_short_is_refused_at_the_exact_entry(monkeypatch):
    monkeypatch.setattr(device_history, "MAX_ENTRIES", 2)
    assert [("alloc", 0)] == events(read(entry("alloc", 64)))
    with pytest.raises(LaneError, match="2 allocator events or more"):
        read(entry("alloc", 64), entry("alloc", 128))
