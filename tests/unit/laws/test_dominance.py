"""Of many polynomials, those that no other covers."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from oom_suite.laws.dominance import undominated
from oom_suite.records import Polynomial

LOWER = {"n": 2, "m": 1}


def pairwise(polynomials: list[Polynomial]) -> list[int]:
    """The definition: nobody else's `at_most` holds."""
    return [
        place
        for place, one in enumerate(polynomials)
        if not any(one.at_most(other, LOWER) for other in polynomials if other is not one)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_it_leaves_what_no_other_is_at_least_as_large_as(seed: int) -> None:
    chance = random.Random(seed)
    terms = [(), ("n",), ("m",), ("m", "n"), ("n", "n")]
    drawn = {
        tuple(Fraction(chance.randint(-2, 4), chance.choice((1, 1, 2))) for _ in terms)
        for _ in range(25)
    }
    made = [Polynomial.of(dict(zip(terms, each, strict=True))) for each in sorted(drawn)]
    assert undominated(made, LOWER) == pairwise(made)


def test_a_term_that_only_the_larger_one_has_counts_with_its_sign() -> None:
    """``n - m`` is not at least ``n``, and ``n`` is at least ``n - m`` where ``m`` is."""
    smaller, larger = Polynomial.of({("n",): 1, ("m",): -1}), Polynomial.of({("n",): 1})
    assert undominated([smaller, larger], LOWER) == [1]
    assert undominated([larger, smaller], LOWER) == [0]


def test_lower_bounds_decide() -> None:
    """``2*n`` covers ``n + 2`` from 2 on, and not from 1."""
    double, shifted = Polynomial.of({("n",): 2}), Polynomial.of({("n",): 1, (): 2})
    assert undominated([shifted, double], {"n": 2}) == [1]
    assert undominated([shifted, double], {"n": 1}) == [0, 1]


def test_many_that_one_covers_take_no_time() -> None:
    """Ten thousand sums of a loop, of which the last is the largest: two minutes by pairs."""
    made = [Polynomial.of({("n",): 4, (): 8 * k}) for k in range(10_000)]
    assert undominated(made, LOWER) == [9_999]
