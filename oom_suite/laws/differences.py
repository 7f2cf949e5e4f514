"""Exact polynomials from values on a grid, by mixed finite differences."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb, factorial
from typing import TYPE_CHECKING

from oom_suite.records import Polynomial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.records.law import Monomial

Index = tuple[tuple[str, int], ...]
"""A grid point: how many steps along which axes, sorted by axis, zero steps left out."""


def below(index: Index) -> list[Index]:
    """Every grid point between the origin and this one, itself included."""
    ranges = [range(steps + 1) for _, steps in index]
    return [
        tuple((axis, k) for (axis, _), k in zip(index, chosen, strict=True) if k)
        for chosen in product(*ranges)
    ]


def difference(values: Mapping[Index, int], index: Index) -> int:
    """The mixed forward difference of that order at the origin."""
    total = 0
    wanted = dict(index)
    order = sum(wanted.values())
    for point in below(index):
        taken = dict(point)
        weight = 1
        for axis, steps in wanted.items():
            weight *= comb(steps, taken.get(axis, 0))
        sign = -1 if (order - sum(taken.values())) % 2 else 1
        total += sign * weight * values[point]
    return total


def polynomial(
    values: Mapping[Index, int],
    indices: Sequence[Index],
    origin: Mapping[str, int],
    steps: Mapping[str, int],
) -> Polynomial:
    """The polynomial that takes these values on the grid ``origin + k * steps``.

    Newton's form on a lower set: exact for every polynomial whose monomials are in
    `indices`, with no division but the last.

    Args:
        values: value at each grid point; every point below an index must be there.
        indices: the grid points that carry a term; closed downwards.
        origin: the axes' values at the empty grid point.
        steps: distance of one grid step along each axis; may be negative.
    """
    terms: dict[Monomial, Fraction] = {}
    if len(set(values.values())) == 1:
        # Most requests depend on nothing: no need to difference zeros.
        indices = [()]
    for index in indices:
        delta = difference(values, index)
        if not delta:
            continue
        expanded: dict[Monomial, Fraction] = {(): Fraction(delta)}
        for axis, power in index:
            factor = _falling(origin[axis], steps[axis], power)
            expanded = {
                done + (axis,) * degree: c * part
                for done, c in expanded.items()
                for degree, part in enumerate(factor)
            }
        for monomial, c in expanded.items():
            terms[monomial] = terms.get(monomial, Fraction(0)) + c
    return Polynomial.of(terms, order=origin)


def _falling(origin: int, step: int, power: int) -> list[Fraction]:
    """Coefficients in x, lowest first, of the binomial ``C((x - origin) / step, power)``."""
    coefficients = [Fraction(1, factorial(power))]
    for k in range(power):
        # Multiply by ((x - origin) / step - k).
        shift, scale = Fraction(-origin, step) - k, Fraction(1, step)
        longer = [Fraction(0)] * (len(coefficients) + 1)
        for degree, c in enumerate(coefficients):
            longer[degree] += c * shift
            longer[degree + 1] += c * scale
        coefficients = longer
    return coefficients
