"""What two runs that differ are told by: rises, sites of one of them alone, and their order."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from test_runs_compared import FORBIDDEN, LINE, asks, pools, runs

from oom_suite.laws.evidence import allocate_alike, dependences


@pytest.mark.parametrize(
    ("by_pool", "num_rises"),
    [
        ((None, 1), 1),
        ((None, 0), 0),
        ((1, None), 0),
        ((1, 2), 1),
        ((2, 1), 0),
        ((None, 5, None, 5, 6), 3),
    ],
)
def test_a_rise_is_a_byte_more_than_before_and_nothing_where_there_was_none(by_pool, num_rises):
    """A line that is not reached holds nothing; one that asks for nothing holds no more."""

    def program(heap, s):
        heap.passing("cover", 99)
        if by_pool[s.pool] is not None:
            heap.passing("line", by_pool[s.pool])

    found = dependences(pools(program, *range(len(by_pool))), FORBIDDEN)
    assert [num_rises] == [one.num_rises for one in found]


def test_rises_are_those_of_the_site_that_rises_most_often():
    def program(heap, s):
        heap.passing("cover", 99)
        heap.passing("once", 5 + (s.pool > 2))
        heap.passing("line", 5 + s.pool)

    (shown,) = dependences(pools(program, 1, 2, 3), FORBIDDEN)
    assert 2 == shown.num_rises


def test_where_bytes_held_are_equal_the_live_sums_tell_which_run_differs_most():
    """The same requests, ever more of them held together below the peak."""

    def program(heap, s):
        held = [heap.alloc("first", 10) for _ in range(2)]
        heap.free(*held[: 2 - s.pool])
        heap.passing("second", 10)
        heap.free(*held[2 - s.pool :])
        heap.passing("cover", 99)

    (shown,) = dependences(pools(program, 0, 1, 2), FORBIDDEN)
    assert (0, 2) == (shown.before["pool"], shown.after["pool"])
    (shown,) = dependences(
        pools(lambda heap, s: program(heap, _at(2 - s.pool)), 0, 1, 2), FORBIDDEN
    )
    assert (0, 2) == (shown.before["pool"], shown.after["pool"])


def _at(pool):
    return SimpleNamespace(pool=pool)


@pytest.mark.parametrize(("before", "after"), [(8, 0), (0, 8), (8, 9), (9, 8)])
def test_a_site_that_a_run_does_not_have_holds_nothing_there(before, after):
    """What is the same in the two runs shown is left out, whatever a third one has."""
    by_pool = {1: before, 2: after, 3: before}

    def program(heap, s):
        heap.passing("cover", 99)
        if s.pool == 3:
            heap.passing("third", 0)
        if by_pool[s.pool]:
            heap.passing("line", by_pool[s.pool])

    (shown,) = dependences(pools(program, 1, 2, 3), FORBIDDEN)
    assert [(LINE[0], before, after)] == [(site[0], *held) for site, *held in shown.sites]
    assert (1, 2) == (shown.before["pool"], shown.after["pool"])


def test_a_loop_of_more_turns_of_the_same_bytes_allocates_alike():
    """A place whose number of requests differs is taken as one; a larger turn is no longer."""

    def program(heap, s):
        for _ in range(s.pool):
            heap.passing("turn", 8 * s.t)

    (_, two), (_, three), (_, larger) = runs(program, {"pool": 2}, {"pool": 3}, {"pool": 3, "t": 2})
    assert allocate_alike(two, three)
    assert not allocate_alike(two, larger)


def test_of_axes_moved_together_only_those_that_differ_are_named():
    program = asks(lambda s: 8 * min(s.pool, s.other))
    points = [{"pool": 1, "other": 1, "t": 1}, {"pool": 2, "other": 2, "t": 1}]
    (shown,) = dependences(runs(program, *points), ("pool", "other", "t"))
    assert ("pool", "other") == shown.axes
    (shown,) = dependences(runs(program, *points, {"pool": 3, "other": 3}), ("pool", "other", "t"))
    assert (1, 3) == (shown.before["pool"], shown.after["pool"])


def test_a_site_that_a_run_does_not_have_counts_as_nothing_where_runs_are_told_apart():
    """From 1 byte the fall to none, 1, is less than the rise of 2 and as much as one of 1."""

    def furthest(*by_pool):
        def program(heap, s):
            heap.passing("cover", 99)
            if by_pool[s.pool] is not None:
                heap.passing("line", by_pool[s.pool])

        (shown,) = dependences(pools(program, *range(len(by_pool))), FORBIDDEN)
        return shown.after["pool"]

    assert 2 == furthest(1, None, 3)
    assert 1 == furthest(1, None, 2)
    assert 1 == furthest(3, None, 1)
    assert 2 == furthest(None, 1, 2)
    assert 2 == furthest(1, 1, 2, None)
