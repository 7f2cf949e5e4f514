"""A bound with ``min`` and ``max`` in it: the least of several maxima of polynomials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.records.law import Polynomial

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Bound:
    """What the peak must not exceed, where that is no polynomial.

    Attributes:
        rows: the bound is the least of these, each the largest of its polynomials.
    """

    rows: tuple[tuple[Polynomial, ...], ...]

    @classmethod
    def of(cls, limit: Polynomial | Bound) -> Bound:
        """The same limit as a bound."""
        return limit if isinstance(limit, Bound) else cls(((limit,),))

    def __call__(self, sizes: Mapping[str, int]) -> Fraction:
        """Its value at these sizes, exactly."""
        return min(max(each(sizes) for each in row) for row in self.rows)

    @property
    def polynomials(self) -> tuple[Polynomial, ...]:
        """Every polynomial in it."""
        return tuple(each for row in self.rows for each in row)

    @property
    def axes(self) -> frozenset[str]:
        """Every axis that it speaks of."""
        return frozenset().union(*(each.axes for each in self.polynomials))

    def at(self, held: Mapping[str, int]) -> Bound:
        """The bound in the other axes, with these held at their values."""
        return Bound(tuple(tuple(each.at(held) for each in row) for row in self.rows))

    def plus(self, num_bytes: int) -> Bound:
        """The bound with so many bytes more."""
        less = Polynomial.of({(): -num_bytes})
        return Bound(tuple(tuple(each - less for each in row) for row in self.rows))

    def rules_at(self, sizes: Mapping[str, int]) -> Polynomial:
        """The polynomial that is the bound at these sizes."""
        highest = (max(row, key=lambda each: each(sizes)) for row in self.rows)
        return min(highest, key=lambda each: each(sizes))

    def covers(self, polynomial: Polynomial, lower: Mapping[str, int]) -> bool:
        """Whether a polynomial provably never exceeds it: sufficient, not necessary."""
        return all(any(polynomial.at_most(each, lower) for each in row) for row in self.rows)

    def __str__(self) -> str:
        """``min(8*num_tokens, max(4*topk, 1048576))``; the polynomial itself where it is one."""
        parts = [_called("max", row) for row in self.rows]
        return parts[0] if len(parts) == 1 else f"min({', '.join(parts)})"


def _called(name: str, parts: tuple[Polynomial, ...]) -> str:
    return str(parts[0]) if len(parts) == 1 else f"{name}({', '.join(map(str, parts))})"
