"""What a thread may still have had while another went on, from requests and events by hand."""

from __future__ import annotations

import pytest

from oom_suite.records import Event
from oom_suite.tracing.overlaps import Overlaps, UnorderedOverlaps, in_order


def record(text, *sizes, kind=Overlaps):
    """``"+0 -0"`` requests the first of these sizes and frees it."""
    requests = [(size, f"op {number}", (f"line {number}",)) for number, size in enumerate(sizes)]
    events = [("alloc" if one[0] == "+" else "free", int(one[1:])) for one in text.split()]
    return kind((requests, events)), requests, events


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
    held = overlaps.hold((since,))
    made = [number for _, number in held]
    assert {0} >= {memory for memory, _ in held}
    assert again == [requests[number][0] for number in made]
    assert [("alloc", number) for number in made] == events[num_events:]
    assert all(requests[number][3] for number in made)
    assert list(range(3, 3 + len(made))) == made
    overlaps.release(held)
    assert [("free", number) for number in made] == events[num_events + len(made) :]
    assert (len(events),) == overlaps.position()


def test_what_is_requested_again_has_the_operator_and_the_lines_of_what_was_freed():
    overlaps, requests, _ = record("+0 -0", 100)
    ((_, made),) = overlaps.hold((0,))
    assert (100, "op 0", ("line 0",), True) == requests[made]


def test_of_equal_requests_the_first_is_made_again_first():
    overlaps, requests, _ = record("+0 +1 -0 -1", 5, 5)
    made = overlaps.hold((0,))
    assert ["op 0", "op 1"] == [requests[number][1] for _, number in made]


@pytest.mark.parametrize(
    ("text", "since", "is_needed"),
    [("+0 -0", 0, True), ("+0 -0", 1, True), ("+0 -0", 2, False), ("+0", 0, False)],
)
def test_where_sizes_are_symbols_a_free_since_then_is_one_too_many(text, since, is_needed):
    overlaps, _, events = record(text, "n", kind=UnorderedOverlaps)
    assert not overlaps.are_needed
    assert [] == overlaps.hold((since,))
    assert is_needed == overlaps.are_needed
    assert len(text.split()) == len(events)
    overlaps.hold((len(events),))
    assert is_needed == overlaps.are_needed


def test_each_memory_is_held_from_its_own_position_on():
    """What was freed of the second alone is requested again there."""
    first, second = [[(5, "op", ())], [("alloc", 0)]], [[(7, "op", ())], [("alloc", 0)]]
    overlaps = Overlaps(tuple(first), tuple(second))
    since = overlaps.position()
    assert (1, 1) == since
    second[1].append(("free", 0))
    assert [(1, 1)] == overlaps.hold(since)
    overlaps.release([(1, 1)])
    assert [("alloc", 0), ("free", 0), ("alloc", 1), ("free", 1)] == second[1]
    assert [("alloc", 0)] == first[1]


@pytest.mark.parametrize(
    ("text", "marks", "ordered"),
    [
        ("+0 +1 +2 -2 -0 -1", (), "+0 +1 +2 -0 -1 -2"),
        ("+0 +1 -1 +2 -2 -0", (), "+0 +1 -1 +2 -0 -2"),
        ("+0 +1 +2 -2 -0 -1", (4,), "+0 +1 +2 -2 -0 -1"),
        ("+0 +1 +2 -2 -1 -0", (5,), "+0 +1 +2 -1 -2 -0"),
        ("", (), ""),
    ],
)
def test_frees_that_follow_one_another_are_in_the_order_of_what_they_free(text, marks, ordered):
    """None crosses a mark."""

    def events(one):
        return tuple(Event("alloc" if e[0] == "+" else "free", int(e[1:])) for e in one.split())

    assert events(ordered) == in_order(events(text), marks)


def by_size(*sizes):
    """Requests and events: a positive size is asked for, a negative one of them freed."""
    requests, events = [], []
    for size in sizes:
        if size > 0:
            events.append(("alloc", len(requests)))
            requests.append((size, "op", ()))
        else:
            events.append(("free", next(n for n, each in enumerate(requests) if each[0] == -size)))
    return requests, events


@pytest.mark.parametrize(
    ("sizes", "since", "expected"),
    [
        ((10, -10), 0, [10]),
        ((10, -10), 2, []),
        ((10,), 0, []),
        # The most was 30, and 11 are there still.
        ((10, 20, -10, -20, 11), 0, [19]),
        # Two that were freed, the larger first, up to what is missing.
        ((10, 20, -10, -20, 5), 0, [20, 5]),
        # What was there before and is freed meanwhile may be there still.
        ((10, -10), 1, [10]),
        ((10, -10, 7), 1, [3]),
        ((10, -10, 10), 1, []),
        ((10, -10, 12), 1, []),
    ],
)
def test_the_most_that_was_there_is_held(sizes, since, expected):
    requests, events = by_size(*sizes)
    held = Overlaps((requests, events)).hold((since,))
    assert expected == [requests[each][0] for _, each in held]
    assert all(requests[each][3] for _, each in held)


def test_what_is_held_is_freed_in_the_end():
    requests, events = by_size(10, -10)
    overlaps = Overlaps((requests, events))
    overlaps.release(overlaps.hold((0,)))
    assert [("alloc", 1), ("free", 1)] == events[2:]


@pytest.mark.parametrize(("since", "expected"), [(0, True), (2, False)])
def test_symbols_know_only_whether_something_was_freed(since, expected):
    overlaps = UnorderedOverlaps(by_size(10, -10))
    assert [] == overlaps.hold((since,))
    assert expected is overlaps.are_needed


@pytest.mark.parametrize("since", [(), (0, 0)])
def test_a_place_in_other_records_is_refused(since):
    """One number for each memory, neither fewer nor more."""
    with pytest.raises(ValueError, match="zip"):
        UnorderedOverlaps(by_size(10, -10)).hold(since)


def test_each_memory_has_its_own():
    """The host's is held beside the device's."""
    device, host = by_size(10, -10), by_size(3, -3)
    assert [(0, 1), (1, 1)] == Overlaps(device, host).hold((0, 0))
    assert [(1, 1)] == Overlaps(by_size(10), by_size(3, -3)).hold((0, 0))


@pytest.mark.parametrize(
    ("marks", "expected"), [((), (0, 1)), ((3,), (1, 0)), ((2,), (0, 1)), ((4,), (0, 1))]
)
def test_frees_in_a_row_have_one_order(marks, expected):
    """Between two requests alone, and not across the end of a step."""
    made = (Event("alloc", 0), Event("alloc", 1))
    last = (Event("alloc", 2), Event("free", 2))
    events = (*made, Event("free", 1), Event("free", 0), *last)
    frees = (Event("free", each) for each in expected)
    assert (*made, *frees, *last) == in_order(events, marks)
