"""One run as a sheet: what each place asks for, holds, and reaches."""

from __future__ import annotations

from heap import Code, stack_of

from oom_suite.laws.sites import (
    ALL,
    Sheet,
    alive_with,
    merged_places,
    sheet,
    site_names,
    unseen_inputs,
    without,
)


def run(*programs, **sizes):
    return Code(*programs)(sizes)


def place(line):
    return ("aten.empty", stack_of(line))


def loop(heap, s):
    """A buffer held throughout; turns of 10, 30 and 20 bytes, each freed before the next."""
    kept = heap.alloc("kept", 5)
    for num_bytes in (10, 30, 20)[: s.turns]:
        heap.passing("turn", num_bytes)
    heap.free(kept)


KEPT, TURN = place("kept"), place("turn")


def test_without_merging_each_allocation_of_a_place_is_a_site():
    assert [(KEPT, 0), (TURN, 0), (TURN, 1), (TURN, 2)] == site_names(run(loop, turns=3), ())
    assert sheet(run(loop, turns=3)) == Sheet(
        own={(KEPT, 0): 5, (TURN, 0): 10, (TURN, 1): 30, (TURN, 2): 20},
        held={(KEPT, 0): 5, (TURN, 0): 10, (TURN, 1): 30, (TURN, 2): 20},
        live={(KEPT, 0): 5, (TURN, 0): 15, (TURN, 1): 35, (TURN, 2): 25},
        peak=35,
    )


def test_a_merged_place_stands_for_its_largest_turn():
    assert sheet(run(loop, turns=3), {TURN}) == Sheet(
        own={(KEPT, 0): 5, (TURN, ALL): 30},
        held={(KEPT, 0): 5, (TURN, ALL): 30},
        live={(KEPT, 0): 5, (TURN, ALL): 35},
        peak=35,
    )


def keeping(heap, s):
    """Turns of 10 and 30 bytes that are held together, then one of 20 alone."""
    heap.free(*[heap.alloc("turn", num_bytes) for num_bytes in (10, 30)])
    heap.passing("turn", 20)


def test_what_a_merged_place_holds_is_the_most_at_once():
    found = sheet(run(keeping), {TURN})
    assert ({(TURN, ALL): 30}, {(TURN, ALL): 40}) == (found.own, found.held)
    assert ({(TURN, ALL): 40}, 40) == (found.live, found.peak)


def test_a_call_that_allocates_nothing_has_a_peak_of_nothing():
    assert Sheet({}, {}, {}, 0) == sheet(run(lambda heap, s: None))


def test_places_are_merged_where_their_number_differs_from_run_to_run():
    """One that is missing in a run has another number there, too."""
    runs = [run(loop, turns=turns) for turns in (2, 3)]
    assert {TURN} == merged_places(runs)
    assert frozenset() == merged_places([runs[0], runs[0]])
    assert {KEPT, TURN} == merged_places([*runs, run(lambda heap, s: None)])


def test_what_is_alive_at_a_sites_largest_live_sum():
    """Itself and what others hold then; of equal sums the first, and nothing that holds none."""
    trace = run(loop, turns=3)
    assert {(KEPT, 0): 5, (TURN, 1): 30} == alive_with(trace, (), (TURN, 1))
    assert {(KEPT, 0): 5, (TURN, ALL): 30} == alive_with(trace, {TURN}, (TURN, ALL))
    assert {(KEPT, 0): 5} == alive_with(trace, (), (KEPT, 0))

    def twice(heap, s):
        for other in ("first", "second"):
            held = heap.alloc(other, 7)
            heap.passing("turn", 10)
            heap.free(held)

    assert {(place("first"), 0): 7, (TURN, ALL): 10} == alive_with(run(twice), {TURN}, (TURN, ALL))


def test_a_run_without_a_place_has_it_ask_for_nothing():
    trace = run(loop, turns=3)
    assert 5 == without(trace, {TURN}).peak().num_bytes
    assert 30 == without(trace, {KEPT}).peak().num_bytes
    assert trace is without(trace, ())


def test_unseen_scratch_is_told_by_the_most_that_it_was_given():
    def sorts(heap, s):
        for num_bytes in (10, 40, 20):
            heap.sort("sort", num_bytes)
        heap.sort("nothing", 0)

    expected = {("aten::sort", stack_of("sort")): 40, ("aten::sort", stack_of("nothing")): 0}
    assert expected == unseen_inputs(run(sorts))


def test_a_request_of_no_bytes_holds_none():
    trace = run(lambda heap, s: heap.passing("turn", 0))
    nothing = {(TURN, 0): 0}
    assert Sheet(nothing, nothing, nothing, 0) == sheet(trace)
    assert {} == alive_with(trace, (), (TURN, 0))


def test_the_largest_live_sum_of_a_site_is_looked_for_where_it_allocates():
    """Not where it frees, whatever is alive then."""

    def program(heap, s):
        turn = heap.alloc("turn", 1)
        later = heap.alloc("later", 50)
        heap.free(turn)
        heap.free(later)

    assert {(TURN, 0): 1} == alive_with(run(program), (), (TURN, 0))


def test_what_is_held_of_a_merged_place_falls_when_it_is_freed():
    def program(heap, s):
        first = heap.alloc("turn", 30)
        heap.free(first)
        heap.passing("turn", 10)

    assert {(TURN, ALL): 30} == sheet(run(program), {TURN}).held
