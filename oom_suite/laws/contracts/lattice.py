"""Sums and products of minima and maxima: the least of rows, each the largest of its parts.

All that a bound is made of is at least zero, so that sums and products pass through both:
``min(a, b) + c`` is ``min(a + c, b + c)``, and ``max(a, b) * c`` is ``max(a * c, b * c)``.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from oom_suite.records.law import Monomial

    Terms = dict[Monomial, Fraction]
    Rows = tuple[tuple[Terms, ...], ...]


def combined(one: Rows, other: Rows, operation: Callable[[Terms, Terms], Terms]) -> Rows:
    """A sum or product of two."""
    return tuple(
        tuple(operation(left, right) for left, right in product(first, second))
        for first, second in product(one, other)
    )


def larger(one: Rows, other: Rows) -> Rows:
    """The larger of two."""
    return tuple((*first, *second) for first, second in product(one, other))
