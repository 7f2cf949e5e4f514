"""Polynomials, laws: exact arithmetic and how they read."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oom_suite.records import Contract, Law, Polynomial

AXES = ("a", "b")
POLYNOMIALS = st.dictionaries(
    st.lists(st.sampled_from(AXES), max_size=3).map(lambda axes: tuple(sorted(axes))),
    st.integers(-50, 50),
    max_size=5,
).map(Polynomial.of)
SIZES = st.fixed_dictionaries({axis: st.integers(-20, 20) for axis in AXES})


def test_terms_in_any_axis_order_are_one_term():
    assert Polynomial.of({("b", "a"): 2, ("a", "b"): 3}) == Polynomial.of({("a", "b"): 5})


def test_terms_that_cancel_are_not_kept():
    zero = Polynomial.of({("b", "a"): 2, ("a", "b"): -2, (): 0})
    assert not zero.terms
    assert zero.axes == frozenset()
    assert str(zero) == "0"
    assert zero({}) == 0


def test_a_value_is_exact_where_a_float_is_not():
    law = Polynomial.of({("a",): 65536, (): Fraction(1, 3)})
    assert law({"a": 10**18}) == 65536 * 10**18 + Fraction(1, 3)


def test_a_value_needs_every_axis_it_depends_on_and_no_other():
    law = Polynomial.of({("a",): 1})
    assert law({"a": 3, "unrelated": 9}) == 3
    with pytest.raises(KeyError, match="b"):
        Polynomial.of({("b",): 1})({"a": 3})


@given(POLYNOMIALS, POLYNOMIALS, SIZES)
def test_a_difference_has_the_difference_of_the_values(left, right, sizes):
    assert (left - right)(sizes) == left(sizes) - right(sizes)


@given(POLYNOMIALS, SIZES, SIZES)
def test_shifting_moves_the_origin_and_changes_no_value(law, lower, sizes):
    moved = {axis: sizes[axis] - lower[axis] for axis in AXES}
    assert law.shifted(lower)(moved) == law(sizes)


@given(POLYNOMIALS)
def test_shifting_by_nothing_changes_nothing(law):
    assert law.shifted({}) == law


@given(POLYNOMIALS, POLYNOMIALS, SIZES, SIZES)
def test_at_most_is_never_wrong_above_the_lower_bounds(left, right, lower, extra):
    if left.at_most(right, lower):
        sizes = {axis: lower[axis] + abs(extra[axis]) for axis in AXES}
        assert left(sizes) <= right(sizes)


def test_at_most_holds_with_equality_exactly_at_the_boundary():
    small = Polynomial.of({(): 10})
    large = Polynomial.of({("a",): 5})
    assert small.at_most(large, {"a": 2})
    assert not small.at_most(large, {"a": 1})
    assert large.at_most(large, {})


def test_at_most_is_refused_where_it_cannot_be_shown():
    # (a - 1)**2 >= 0 everywhere, but not term by term from 0.
    square = Polynomial.of({("a", "a"): 1, ("a",): -2, (): 1})
    assert not Polynomial.of({}).at_most(square, {"a": 0})
    assert Polynomial.of({}).at_most(square, {"a": 1})


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({(): 0}, "0"),
        ({(): 1}, "1"),
        ({("a",): 1}, "a"),
        ({("a",): -1}, "-a"),
        ({("a",): 1, (): -8}, "a - 8"),
        ({("a", "a", "b"): 2}, "2*a**2*b"),
        ({("a",): Fraction(1, 2)}, "0.5*a"),
        (
            {("swa_num_blocks",): 65536, ("extra_num_blocks",): 82048},
            "82048*extra_num_blocks + 65536*swa_num_blocks",
        ),
        ({(): 3, ("num_tokens", "swa_topk"): 3073}, "3073*num_tokens*swa_topk + 3"),
    ],
)
def test_a_polynomial_reads_as_people_write_it(terms, expected):
    assert expected == str(Polynomial.of(terms))


@given(POLYNOMIALS, SIZES)
def test_the_text_evaluates_to_the_value(law, sizes):
    assert eval(str(law), {}, dict(sizes)) == law(sizes)


SIZES_HERE = {"pool": 100, "tokens": 4}
POOL = Polynomial.of({("pool",): 65536})
TOKENS = Polynomial.of({("tokens",): 4096})


def test_a_law_is_the_maximum_of_its_regimes():
    law = Law((POOL, TOKENS), SIZES_HERE)
    assert law({"pool": 1, "tokens": 1}) == 65536
    assert law({"pool": 1, "tokens": 100}) == 409600
    assert law.here is POOL
    assert law.axes == {"pool", "tokens"}
    assert str(law) == "max(65536*pool, 4096*tokens)"


def test_a_law_of_one_regime_reads_as_that_regime():
    assert str(Law((POOL,), SIZES_HERE)) == "65536*pool"


def test_the_growing_regimes_are_those_with_a_wanted_axis():
    law = Law((POOL, TOKENS), SIZES_HERE)
    assert law.growing(["pool"]) == (POOL,)
    assert law.growing(["elsewhere"]) == ()


def test_a_contract_promises_nothing_unless_it_is_told():
    assert (Contract().independent_of, Contract().at_most) == ((), None)
