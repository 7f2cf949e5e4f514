"""Exact polynomials from values on a grid."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from oom_suite.laws.differences import below, difference, polynomial
from oom_suite.records import Polynomial

AXES = ("a", "b")
QUADRATICS = st.dictionaries(
    st.lists(st.sampled_from(AXES), max_size=2).map(lambda axes: tuple(sorted(axes))),
    st.integers(-(10**9), 10**9),
    max_size=6,
).map(Polynomial.of)
STEPS = st.integers(-64, 64).filter(bool)
INDICES = below((("a", 2), ("b", 2)))


def test_below_is_every_point_between_the_origin_and_the_index():
    assert below((("a", 1), ("b", 2))) == [
        (),
        (("b", 1),),
        (("b", 2),),
        (("a", 1),),
        (("a", 1), ("b", 1)),
        (("a", 1), ("b", 2)),
    ]


def test_a_mixed_difference_is_that_of_the_corners():
    values = {(): 1, (("a", 1),): 2, (("b", 1),): 5, (("a", 1), ("b", 1)): 11}
    assert difference(values, (("a", 1), ("b", 1))) == 11 - 5 - 2 + 1


@given(
    QUADRATICS,
    st.fixed_dictionaries(dict.fromkeys(AXES, st.integers(-(10**6), 10**6))),
    st.fixed_dictionaries(dict.fromkeys(AXES, STEPS)),
)
def test_a_quadratic_is_recovered_exactly_from_any_origin_and_steps(law, origin, steps):
    values = {
        index: int(law({**origin, **{axis: origin[axis] + k * steps[axis] for axis, k in index}}))
        for index in INDICES
    }
    assert law == polynomial(values, INDICES, origin, steps)


def test_one_byte_in_eight_steps_is_a_fraction():
    values = {(): 10, (("a", 1),): 11}
    eighth = polynomial(values, [(), (("a", 1),)], {"a": 80}, {"a": 8})
    assert Polynomial.of({("a",): Fraction(1, 8)}) == eighth


def test_values_that_are_all_the_same_are_a_constant():
    values = dict.fromkeys(INDICES, 7)
    assert Polynomial.of({(): 7}) == polynomial(values, INDICES, {"a": 3, "b": 4}, {"a": 1, "b": 1})
