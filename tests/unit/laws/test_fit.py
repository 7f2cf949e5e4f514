"""The terms that a fitted law can have."""

from __future__ import annotations

import pytest
from heap import DECODE, SCENARIO, Code, law_of

from oom_suite.errors import LaneError
from oom_suite.laws.differences import below
from oom_suite.laws.evidence import Survey
from oom_suite.laws.fit import Fit, _degree, _indices
from oom_suite.laws.grid import Grid
from oom_suite.laws.sites import ALL, Sheet


def test_a_live_sum_may_depend_on_an_axis_that_nothing_held_at_its_most_does():
    """A loop's place holds most before it, and as many as there are tokens at the peak."""

    def program(heap, s):
        def rows(number):
            return [heap.alloc("rows", 1000) for _ in range(number)]

        heap.free(*rows(10))
        kept = rows(s.num_tokens)
        heap.passing("output", 1_000_000)
        heap.free(*kept)

    assert "1000*num_tokens + 1000000" == str(law_of(program).law)


def test_an_axis_that_only_the_requests_of_a_loop_depend_on_is_one_of_its_terms():
    """Two turns hold 100 bytes together, however they are shared out between them."""
    loop, one = ("op", ()), ("op", ())
    for site, degree in (((loop, ALL), 1), ((one, 0), 0)):
        table = {
            index: Sheet({site: 50 + number}, {site: 100}, {site: 100}, 100)
            for number, index in enumerate([(), (("t", 1),), (("t", 2),), (("t", 3),)])
        }
        assert degree == _degree(table, site, "t")


@pytest.mark.parametrize(
    ("held", "degree"), [((5, 5, 5), 0), ((5, 6, 7), 1), ((5, 6, 9), 2), ((0, 2, 2), 2)]
)
def test_the_degree_of_a_site_is_that_of_what_it_holds(held, degree):
    site = (("op", ()), 0)
    points = [(), (("t", 1),), (("t", 2),)]
    table = {
        index: Sheet({site: 1}, {site: num_bytes}, {site: 1}, 1)
        for index, num_bytes in zip(points, held, strict=True)
    }
    assert degree == _degree(table, site, "t")


def test_the_terms_are_the_products_of_axes_that_meet_in_one_site_up_to_their_degrees():
    """And the powers of each axis alone; the shorter ones first."""
    both, alone = (("op", ()), 0), (("op", ()), 1)

    def value(site, point):
        a, b = (dict(point).get(axis, 0) for axis in "ab")
        return a * a * b if site is both else a

    points = below((("a", 3), ("b", 3)))
    table = {}
    for point in points:
        held = {site: value(site, point) for site in (both, alone)}
        table[point] = Sheet(held, held, held, 0)
    # Along each axis alone the product is nothing: it is met where the other is there, too.
    shifted = {}
    for point in points:
        held = {both: value(both, [(axis, 1 + dict(point).get(axis, 0)) for axis in "ab"])}
        shifted[point] = Sheet(held, held, held, 0)
    a, aa, b, bb = (("a", 1),), (("a", 2),), (("b", 1),), (("b", 2),)
    assert [a, aa, b, bb] == _indices(table, ["a", "b"])
    assert [a, aa, b, bb, (*a, *b), (*aa, *b)] == _indices(shifted, ["a", "b"])


def fitted(program, refuses=lambda s: None, **sizes):
    start = {**SCENARIO, **sizes}
    return Fit(Grid(Survey(Code(program, refuses=refuses), start), DECODE)), start


def test_a_call_that_allocates_nothing_has_a_peak_of_nothing():
    fit, start = fitted(lambda heap, s: None)
    assert 0 == fit.peak(start)
    assert () == fit.regimes({})


def test_a_peak_is_given_to_the_byte_and_every_sum_below_it_too():
    def program(more_bytes, below_bytes=0, turns=1):
        def run(heap, s):
            heap.passing("below", 8 * s.num_tokens + below_bytes)
            for _ in range(turns):
                heap.passing("peak", 1000 * s.num_tokens + more_bytes)

        return run

    fit, start = fitted(program(0))
    assert (True, True) == _given(fit, start, program(0))
    assert (False, False) == _given(fit, start, program(1))
    assert (True, False) == _given(fit, start, program(0, below_bytes=1))
    assert (True, False) == _given(fit, start, program(0, turns=2))
    assert (True, False) == _given(fit, start, lambda heap, s: heap.passing("peak", 4000))


def _given(fit, sizes, program):
    trace = Code(program)(sizes)
    return fit.gives_peak(sizes, trace), fit.gives_every_sum(sizes, trace)


def test_a_loop_may_have_any_number_of_turns():
    def program(heap, s):
        for _ in range(s.num_tokens):
            heap.passing("turn", 64)

    fit, start = fitted(program)
    far = {**start, "num_tokens": 100}
    assert fit.gives_every_sum(far, Code(program)(far))


def test_of_equal_sums_the_first_is_the_regime_and_covered_ones_are_left_out():
    def program(heap, s):
        for line, num_bytes in (("less", 7), ("first", 8), ("second", 8), ("none", 0)):
            heap.passing(line, num_bytes * s.num_tokens)

    fit, _ = fitted(program)
    (regime,) = fit.regimes({"num_tokens": 1})
    assert "first" == regime.site[0][1][0].function
    assert "8*num_tokens" == str(regime.polynomial)


def test_a_corner_that_refuses_or_lacks_a_site_gives_no_term():
    """Its product is then no part of the law, which the checks of a derivation notice."""

    def program(heap, s):
        heap.passing("rows", 8 * s.num_tokens * s.num_heads)

    def lacking(heap, s):
        heap.passing("other", 8)
        if not (s.num_tokens > 4 and s.num_heads > 16):
            heap.passing("rows", 8 * s.num_tokens * s.num_heads)

    def both_high(s):
        return LaneError("no") if s.num_tokens > 4 and s.num_heads > 16 else None

    for fit, start in (fitted(lacking), fitted(program, refuses=both_high)):
        assert 512 == fit.peak(start)
        product = ("num_heads", "num_tokens")
        assert not any(product in live.terms for live in fit.live.values())


def test_what_only_a_corner_allocates_is_no_part_of_the_law():
    def program(heap, s):
        if s.num_tokens > 4 and s.num_heads > 16:
            heap.passing("corner", 1 << 30)
        heap.passing("rows", 8 * s.num_tokens * s.num_heads)

    fit, _ = fitted(program)
    assert ["8*num_tokens*num_heads"] == [str(r.polynomial) for r in fit.regimes({})]
