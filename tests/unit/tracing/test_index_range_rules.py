"""The rules behind index ranges: what is nonnegative, quotients, and ranges that join."""

from __future__ import annotations

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from oom_suite.tracing.index_ranges import (
    NOTHING,
    Range,
    _arithmetic,
    floor_quotient,
    is_nonnegative,
)

A, B, C = sympy.symbols("a b c", positive=True, integer=True)

EXPRESSIONS = st.recursive(
    st.one_of(st.sampled_from([A, B]), st.integers(-6, 6).map(sympy.Integer)),
    lambda inner: st.tuples(st.sampled_from("+-*"), inner, inner).map(
        lambda one: {"+": one[1] + one[2], "-": one[1] - one[2], "*": one[1] * one[2]}[one[0]]
    ),
    max_leaves=6,
)
SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=8)


@settings(deadline=None)
@given(EXPRESSIONS, SIZES)
def test_what_is_called_nonnegative_is_so_at_every_size(expression, sizes):
    if is_nonnegative(expression):
        assert all(expression.subs({A: a, B: b}) >= 0 for a, b in sizes)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (sympy.Integer(0), True),
        (sympy.Integer(-1), False),
        (A - 1, True),
        (A / 2, True),
        (A / 2 - 1, False),
        (A - 2, False),
        (A * B - A, True),
        (A - B, False),
        (A * B - A - B + 1, True),
        (A * B - A - B, False),
        (A + sympy.Function("f", nonnegative=True)(B), True),
        (A + sympy.Function("f")(B), False),
    ],
    ids=str,
)
def test_sizes_are_at_least_one(expression, expected):
    assert expected == is_nonnegative(expression)


@settings(deadline=None)
@given(EXPRESSIONS, st.one_of(st.just(A), st.integers(1, 64).map(sympy.Integer)), SIZES)
def test_a_quotient_is_at_least_what_division_gives(dividend, divisor, sizes):
    """For every size at which the dividend is natural."""
    quotient = floor_quotient(dividend, divisor)
    for a, b in sizes:
        there = {A: a, B: b}
        if dividend.subs(there) >= 0:
            assert quotient.subs(there) >= dividend.subs(there) // divisor.subs(there)


@pytest.mark.parametrize(
    ("dividend", "divisor", "expected"),
    [
        (64 * A, sympy.Integer(64), A),
        (64 * A - 1, sympy.Integer(64), A - 1),
        (64 * A + 63, sympy.Integer(64), A),
        (65 * A, sympy.Integer(64), 2 * A - 1),
        (A * B, A, B),
        (A * B - 1, A, B - 1),
        (A * B + A - 1, A, B),
        (A + 3, B, A + 3),
        (A * B * C + A - 1, A * B, C),
        (A * B * C + A, A * B, A * B * C + A),
        (B * C + 1 - A, B, C),
        (B * C - A, B, C - 1),
        (A * B * C / 2, A, A * B * C / 2),
        (130 * A + 64, sympy.Integer(64), 3 * A),
    ],
    ids=str,
)
def test_a_quotient_is_exact_where_the_divisor_goes_in(dividend, divisor, expected):
    """Slots to blocks: what is one short of a whole number of blocks has one block fewer."""
    assert 0 == sympy.expand(floor_quotient(dividend, divisor) - expected)


def test_ranges_of_which_no_end_is_known_to_be_further_out_do_not_join():
    """Nothing joined with a range is that range."""
    one, other = Range(sympy.Integer(0), A), Range(sympy.Integer(0), B)
    assert one.joined(other) is None
    assert Range(-A, sympy.Integer(0)).joined(Range(-B, sympy.Integer(0))) is None
    assert (one, one) == (one.joined(NOTHING), NOTHING.joined(one))
    assert Range(sympy.Integer(-1), A + 1) == one.joined(Range(sympy.Integer(-1), A + 1))
    wider = Range(sympy.Integer(-2), A + 2)
    assert (wider, wider) == (wider.joined(one), one.joined(wider))


def span(low, high):
    return Range(sympy.Integer(low), sympy.Integer(high))


@pytest.mark.parametrize(
    ("name", "floors", "left", "right", "expected"),
    [
        ("add", False, span(3, 9), span(-1, 7), span(2, 16)),
        ("sub", False, span(3, 9), span(-1, 7), span(-4, 10)),
        ("mul", False, span(0, 9), span(0, 7), span(0, 63)),
        ("mul", False, span(-1, 9), span(0, 7), None),
        ("mul", False, span(0, 9), span(-1, 7), None),
        ("remainder", False, span(-5, 9), span(1, 7), span(0, 6)),
        ("remainder", False, span(3, 9), span(0, 7), None),
        ("floor_divide", False, span(0, 9), span(1, 7), span(0, 9)),
        ("floor_divide", False, span(0, 9), span(0, 7), None),
        ("floor_divide", False, span(-1, 9), span(2, 7), None),
        ("floor_divide", False, span(0, 9), span(2, 7), span(0, 4)),
        ("div", True, span(0, 9), span(2, 7), span(0, 4)),
        ("div", False, span(0, 9), span(2, 7), None),
        ("pow", False, span(0, 9), span(2, 7), None),
    ],
)
def test_arithmetic_of_ranges_is_known_where_the_signs_are(name, floors, left, right, expected):
    """A divisor that may be zero, and a factor that may be negative, tell nothing."""
    assert expected == _arithmetic(name, floors, left, right)
