"""Runs that differ in forbidden axes alone, compared; and the survey that makes them."""

from __future__ import annotations

import pytest
from heap import Code, stack_of

from oom_suite.errors import LaneError
from oom_suite.laws.evidence import (
    Survey,
    allocate_alike,
    compared,
    dependences,
    unclipped,
    unseen_growth,
)


def runs(program, *points):
    """The runs of a program at these sizes of `pool`, `other` and `t`; 1 where not given."""
    code = Code(program)
    every = [{"pool": 1, "other": 1, "t": 1, **point} for point in points]
    return [(sizes, code(sizes)) for sizes in every]


def pools(program, *sizes):
    return runs(program, *({"pool": size} for size in sizes))


def asks(num_bytes, cover=0):
    """A temporary of so many bytes, under a cover that is freed before it."""

    def program(heap, s):
        if cover:
            heap.passing("cover", cover)
        if num_bytes(s):
            heap.passing("line", num_bytes(s))

    return program


LINE = (("aten.empty", stack_of("line")), 0)
FORBIDDEN = ("pool", "other")


def test_runs_that_allocate_alike_show_no_dependence():
    """Whatever another axis does: only runs that are equal in all else are compared."""
    points = [{"pool": pool, "t": t} for pool in (1, 2) for t in (1, 5)]
    assert () == dependences(runs(asks(lambda s: 8 * s.t), *points), FORBIDDEN)


def test_a_dependence_names_the_first_run_and_the_one_that_differs_most():
    """Its sizes and peaks, and the bytes of each site that holds other ones."""
    (shown,) = dependences(pools(asks(lambda s: 8 * s.pool), 4, 1, 2), FORBIDDEN)
    assert (("pool",), 1, 4) == (shown.axes, shown.before["pool"], shown.after["pool"])
    assert (8, 32, True, 2) == (
        shown.before_bytes,
        shown.after_bytes,
        shown.reaches_peak,
        shown.num_rises,
    )
    assert ((LINE, 8, 32),) == shown.sites


def test_of_runs_that_fall_and_rise_the_furthest_from_the_first_is_shown():
    by_pool = {1: 100, 2: 90, 3: 130}
    (shown,) = dependences(pools(asks(lambda s: by_pool[s.pool]), 1, 2, 3), FORBIDDEN)
    assert (3, 100, 130, 1) == (
        shown.after["pool"],
        shown.before_bytes,
        shown.after_bytes,
        shown.num_rises,
    )


def test_below_the_peak_the_bytes_held_tell_which_run_differs_most():
    by_pool = {1: 10, 2: 50, 3: 20}
    (shown,) = dependences(pools(asks(lambda s: by_pool[s.pool], cover=99), 1, 2, 3), FORBIDDEN)
    assert (False, 2) == (shown.reaches_peak, shown.after["pool"])
    assert ((LINE, 10, 50),) == shown.sites


def test_an_order_of_allocations_is_a_dependence_without_sites():
    """The same requests, held together or one after the other below the peak."""

    def program(heap, s):
        first = heap.alloc("first", 10)
        if s.pool == 1:
            heap.free(first)
        heap.passing("second", 10)
        if s.pool != 1:
            heap.free(first)
        heap.passing("cover", 99)

    (shown,) = dependences(pools(program, 1, 2), FORBIDDEN)
    assert (False, (), 0) == (shown.reaches_peak, shown.sites, shown.num_rises)


def test_dependences_of_the_peak_come_first_then_those_that_rise_most():
    def program(heap, s):
        heap.passing("cover", 1000 + (s.t == 3) * s.pool)
        heap.passing("line", (s.t == 2) * s.pool + (s.t == 1) * min(s.pool, 2) + 1)

    points = [{"pool": pool, "t": t} for t in (1, 2, 3) for pool in (1, 2, 3)]
    found = dependences(runs(program, *points), FORBIDDEN)
    assert [(3, True), (2, False), (1, False)] == [
        (one.before["t"], one.reaches_peak) for one in found
    ]
    assert [2, 2, 1] == [one.num_rises for one in found]


def test_axes_that_matter_only_together_are_moved_together():
    """The smaller of two pools: runs that move one of them alone show nothing."""
    program = asks(lambda s: 8 * min(s.pool, s.other))
    alone = [{"pool": 1, "other": 1}, {"pool": 2, "other": 1}, {"pool": 1, "other": 2}]
    assert () == dependences(runs(program, *alone), FORBIDDEN)
    both = [{"pool": 2, "other": 2}, {"pool": 1, "other": 1}]
    (shown,) = dependences(runs(program, *both), FORBIDDEN)
    assert (("pool", "other"), 8, 16) == (shown.axes, shown.before_bytes, shown.after_bytes)


def test_one_axis_alone_is_told_before_both_together():
    points = [{"pool": a, "other": b} for a in (1, 2) for b in (1, 2)]
    found = dependences(runs(asks(lambda s: 8 * s.pool), *points), FORBIDDEN)
    assert [("pool",), ("pool",)] == [one.axes for one in found]


def test_values_are_compared_where_two_runs_are_equal_in_all_else():
    points = [{"pool": 1}, {"pool": 4}, {"pool": 9, "t": 2}]
    program = asks(lambda s: 8)
    assert (1, 4) == compared(runs(program, *points), "pool")
    assert () == compared(runs(program, points[0]), "pool")
    assert (1, 4, 9) == compared(runs(program, *points, {"pool": 1, "t": 2}), "pool")


@pytest.mark.parametrize(
    ("given", "grows"),
    [
        (lambda s: s.pool, True),
        (lambda s: 10 - s.pool, True),
        (lambda s: s.t, False),
        (lambda s: 7, False),
    ],
    ids=["more", "less", "by another axis", "the same"],
)
def test_unseen_scratch_that_is_given_other_bytes_along_an_axis_is_named(given, grows):
    points = [{"pool": pool, "t": t} for pool in (1, 2) for t in (1, 5)]
    found = unseen_growth(runs(lambda heap, s: heap.sort("sort", given(s)), *points), "pool")
    assert ((("aten::sort", stack_of("sort")),) if grows else ()) == found


def test_unseen_scratch_that_only_some_runs_have_is_named():
    """Nothing is given where it is not called."""

    def program(heap, s):
        if s.pool > 1:
            heap.sort("sort", 8)

    assert 1 == len(unseen_growth(pools(program, 1, 2), "pool"))
    assert () == unseen_growth(pools(program, 2, 3), "pool")


def test_runs_allocate_alike_by_sites_and_bytes():
    (_, one), (_, other), (_, more) = pools(asks(lambda s: 8 * max(2, s.pool)), 1, 2, 3)
    assert allocate_alike(one, other)
    assert not allocate_alike(one, more)


SIZES = {"pool": 4, "t": 2}


def survey(refuses=lambda s: None):
    code = Code(asks(lambda s: 8 * s.pool), refuses=refuses)
    return Survey(code, SIZES), code


def test_a_survey_runs_each_size_once_and_counts_what_ran():
    found, code = survey()
    assert found.at({}) is found.at({"pool": 4})
    assert 48 == found.at({"pool": 6}).peak().num_bytes
    assert (2, 2) == (found.num_runs, code.num_calls)
    assert [SIZES, {"pool": 6, "t": 2}] == [sizes for sizes, _ in found.runs]


def test_a_refusal_is_kept_with_its_message_and_is_no_run():
    found, code = survey(lambda s: LaneError("too large") if s.pool > 5 else None)
    assert found.try_at({"pool": 6}) is None
    with pytest.raises(LaneError, match="too large"):
        found.at({"pool": 6})
    assert (0, 1) == (found.num_runs, code.num_calls)
    assert [({"pool": 6, "t": 2}, "too large")] == found.refusals
    assert ("too large", "") == (found.why_refused({"pool": 6}), found.why_refused({"pool": 5}))


def test_a_survey_that_is_moved_starts_elsewhere_and_knows_the_same_runs():
    found, code = survey()
    found.at({"pool": 6})
    there = found.moved({"pool": 6})
    assert ({"pool": 6, "t": 2}, SIZES) == (there.sizes, found.sizes)
    assert there.at({}) is found.at({"pool": 6})
    assert (1, 1) == (there.num_runs, code.num_calls)


def test_a_second_run_of_the_scenario_is_made_anew():
    calls = []
    found, code = survey(lambda s: LaneError("worn out") if len(calls) > 1 else None)
    calls.append(found.at({}))
    assert calls[0] is not found.again(found.sizes)
    calls.append(1)
    assert found.again(found.sizes) is None
    assert (1, 3) == (found.num_runs, code.num_calls)


def clipped(by_pool, *sizes):
    return dependences(pools(asks(lambda s: by_pool(s.pool)), *sizes), FORBIDDEN)


@pytest.mark.parametrize(
    ("by_pool", "sizes", "num_alike"),
    [
        (lambda pool: 8 * min(pool, 3), (1, 3, 64, 512), 3),
        (lambda pool: 8 * min(pool, 3), (1, 3), 1),
        (lambda pool: 8 * min(pool, 4), (1, 3, 64, 512), 0),
        (lambda pool: 8 * max(pool, 3), (1, 3, 64, 65), 0),
        (lambda pool: 24 if pool < 3 else 8, (1, 3, 64, 512), 0),
        (lambda pool: 8 if pool > 1 else 0, (1, 3, 64, 512), 0),
    ],
    ids=["three rows", "two sizes", "four rows", "growth", "a fall", "another request"],
)
def test_only_the_least_size_may_have_less_than_the_code_asks_for(by_pool, sizes, num_alike):
    """``cache[:3]`` of one row: the same request, smaller; from three rows on nothing changes."""
    (shown,) = clipped(by_pool, *sizes)
    assert num_alike == shown.num_alike
    is_left_out = num_alike > 1
    assert (() if is_left_out else (shown,)) == unclipped((shown,))


def test_one_series_shows_what_holds_for_shorter_ones():
    """Two sizes alone do not tell a clip from growth; a longer series along the axis does."""
    program = asks(lambda s: 8 * min(s.pool, 3))
    points = [{"pool": pool} for pool in (1, 64, 512)]
    short = [{"pool": pool, "t": 5} for pool in (1, 64)]
    assert () == unclipped(dependences(runs(program, *points, *short), FORBIDDEN))
    assert 1 == len(unclipped(dependences(runs(program, *short), FORBIDDEN)))
