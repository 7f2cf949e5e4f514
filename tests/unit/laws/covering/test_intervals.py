"""Bounds over a box, held against every size in it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oom_suite.laws.covering.intervals import bounds, holds_over, range_of
from oom_suite.records import Polynomial
from oom_suite.records.symbolic import Formula

ATOMS = ("a", "b", "3", "7")
BINARY = ("({} + {})", "({} - {})", "{}*{}", "({})//({} + 1)", "({}) % 5 + {}", "max({}, {})")
UNARY = (
    "float({})*0.54",
    "ceil({}/3)",
    "floor({}/2.0)",
    "-{}",
    "next_power_of_2(floor({}))",
    "abs({})",
)
numbers = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(BINARY), inner, inner).map(lambda t: t[0].format(t[1], t[2])),
        st.tuples(st.sampled_from(UNARY), inner).map(lambda t: t[0].format(f"({t[1]})")),
    ),
    max_leaves=5,
)
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
ends = st.tuples(st.integers(0, 9), st.integers(0, 5)).map(lambda t: (t[0], t[0] + t[1]))


def values(ranges):
    return [
        dict(zip(ranges, each, strict=True))
        for each in product(*(range(low, high + 1) for low, high in ranges.values()))
    ]


@settings(deadline=None, max_examples=80)
@given(numbers, ends, ends)
def test_a_range_holds_every_value(text, a, b):
    """No size in the box has a value outside of the range that is given for it."""
    formula, ranges = Formula(text), {"a": a, "b": b}
    found = range_of(formula, ranges)
    if found is None:
        return
    for here in values(ranges):
        try:
            assert found[0] <= formula(here) <= found[1]
        except ZeroDivisionError:
            continue


@settings(deadline=None, max_examples=80)
@given(numbers, st.sampled_from(COMPARISONS), numbers, ends, ends)
def test_a_condition_that_is_decided_is_so_everywhere(one, sign, other, a, b):
    """What is said of a whole box is true of each size in it."""
    formula, ranges = Formula(f"{one} {sign} {other}"), {"a": a, "b": b}
    found = holds_over(formula, ranges)
    if found is None:
        return
    for here in values(ranges):
        try:
            assert bool(formula(here)) == found
        except ZeroDivisionError:
            continue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b >= 3", True),
        ("a*b > 16", False),
        ("a < b", None),
        ("a < 5 and b > 0", True),
        ("a < 0 or b == 4", None),
        ("not a > 9", True),
        ("a % 2 == 0", None),
        ("(a // 8) == 0", True),
        ("a << b > 1", None),
        ("a", True),
    ],
)
def test_conditions_over_a_box(text, expected):
    """Each is decided where its ends decide it, and left open where they do not."""
    assert holds_over(Formula(text), {"a": (2, 4), "b": (1, 4)}) is expected


def test_an_operation_without_bounds_is_decided_at_one_size():
    """Shifts are bounded by nothing, and evaluated where every name is one size."""
    assert holds_over(Formula("a << b > 15"), {"a": (2, 2), "b": (3, 3)}) is True


def test_the_bound_of_rising_terms_is_reached_at_the_upper_corner():
    """Without negative coefficients the upper bound is the value there."""
    law = Polynomial.of({("a", "b"): 3, ("a",): 2, (): 1})
    assert bounds(law, {"a": (1, 4), "b": (2, 5)}) == (9, 69)


def test_the_bounds_of_mixed_terms_hold():
    """A term that is taken away is the least at the lower corner."""
    law = Polynomial.of({("a",): 10, ("a", "a"): -1})
    low, high = bounds(law, {"a": (0, 10)})
    assert low <= 0
    assert high >= 25
