"""A bound with minima and maxima: its value, what it covers, its text."""

from __future__ import annotations

from oom_suite.records import Bound, Polynomial

TOKENS = Polynomial.of({("t",): 8})
SQUARE = Polynomial.of({("t", "t"): 1})
FIXED = Polynomial.of({(): 64})
BOTH = Bound(((TOKENS, FIXED), (SQUARE,)))


def test_it_is_the_least_of_the_largest():
    """min(max(8*t, 64), t**2) at sizes on either side of where they cross."""
    assert [1, 49, 64, 72] == [BOTH({"t": size}) for size in (1, 7, 8, 9)]
    assert "min(max(8*t, 64), t**2)" == str(BOTH)
    assert {"t"} == BOTH.axes


def test_the_polynomial_that_rules_is_the_one_whose_value_it_is():
    """At the crossing itself both have it."""
    assert [SQUARE, TOKENS] == [BOTH.rules_at({"t": size}) for size in (7, 9)]


def test_a_polynomial_is_a_bound_of_one_and_has_its_text():
    assert Bound(((TOKENS,),)) == Bound.of(TOKENS)
    assert BOTH is Bound.of(BOTH)
    assert "8*t" == str(Bound.of(TOKENS))


def test_more_bytes_are_added_to_every_part():
    assert "min(max(8*t + 1, 65), t**2 + 1)" == str(BOTH.plus(1))


def test_axes_that_are_held_become_numbers():
    assert "min(max(32, 64), 16)" == str(BOTH.at({"t": 4}))


def test_it_covers_what_each_row_covers_with_one_of_its_own():
    """From t=8 on the square covers 8*t, from 7 it does not; a constant over all is over."""
    assert BOTH.covers(TOKENS, {"t": 8})
    assert not BOTH.covers(TOKENS, {"t": 7})
    assert BOTH.covers(FIXED, {"t": 8})
    assert not BOTH.covers(Polynomial.of({(): 65}), {"t": 8})
