"""What a thread may still have had while another went on, from requests and events by hand."""

from __future__ import annotations

import pytest

from oom_suite.tracing.overlaps import Overlaps, UnorderedOverlaps


def record(text, *sizes, kind=Overlaps):
    """``"+0 -0"`` requests the first of these sizes and frees it."""
    requests = [(size, f"op {number}", (f"line {number}",)) for number, size in enumerate(sizes)]
    events = [("alloc" if one[0] == "+" else "free", int(one[1:])) for one in text.split()]
    return kind(requests, events), requests, events


@pytest.mark.parametrize(
    ("text", "since", "again"),
    [
        ("+0 +1 -1 -0", 0, [100, 10]),
        ("+0 +1 -1 -0", 1, [100, 10]),
        ("+0 +1 -1 -0", 2, [100, 10]),
        ("+0 +1 -1 -0", 3, [100]),
        ("+0 +1 -1 -0", 4, []),
        ("+0 -0 +1", 0, [90]),
        ("+0 -0 +1", 2, []),
        ("+1 -1 +0", 0, []),
        ("+0 +1 +2 -0 -2", 0, [100, 1]),
        ("+0 -0 +1 +2 -1 -2", 0, [100]),
        ("+1 +2 -1 -2 +0 -0", 0, [100]),
        ("+1 +2 -1 -2 +0 -0", 1, [100]),
        ("", 0, []),
    ],
)
def test_what_was_freed_of_the_most_since_then_is_requested_again_the_largest_first(
    text, since, again
):
    """Of 100, 10 and 1 bytes; no more than is missing to the most."""
    overlaps, requests, events = record(text, 100, 10, 1)
    num_events = len(events)
    made = overlaps.hold(since)
    assert again == [requests[number][0] for number in made]
    assert [("alloc", number) for number in made] == events[num_events:]
    assert all(requests[number][3] for number in made)
    assert list(range(3, 3 + len(made))) == made
    overlaps.release(made)
    assert [("free", number) for number in made] == events[num_events + len(made) :]
    assert len(events) == overlaps.position()


def test_what_is_requested_again_has_the_operator_and_the_lines_of_what_was_freed():
    overlaps, requests, _ = record("+0 -0", 100)
    (made,) = overlaps.hold(0)
    assert (100, "op 0", ("line 0",), True) == requests[made]


def test_of_equal_requests_the_first_is_made_again_first():
    overlaps, requests, _ = record("+0 +1 -0 -1", 5, 5)
    made = overlaps.hold(0)
    assert ["op 0", "op 1"] == [requests[number][1] for number in made]


@pytest.mark.parametrize(
    ("text", "since", "is_needed"),
    [("+0 -0", 0, True), ("+0 -0", 1, True), ("+0 -0", 2, False), ("+0", 0, False)],
)
def test_where_sizes_are_symbols_a_free_since_then_is_one_too_many(text, since, is_needed):
    overlaps, _, events = record(text, "n", kind=UnorderedOverlaps)
    assert not overlaps.are_needed
    assert [] == overlaps.hold(since)
    assert is_needed == overlaps.are_needed
    assert len(text.split()) == len(events)
    overlaps.hold(len(events))
    assert is_needed == overlaps.are_needed
