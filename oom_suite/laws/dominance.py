"""Of many polynomials, those that no other covers: the regimes of a maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from oom_suite.records import Polynomial
    from oom_suite.records.law import Monomial

    Terms = Mapping[Monomial, int | Fraction]


def undominated(polynomials: Sequence[Polynomial], lower: Mapping[str, int]) -> list[int]:
    """The places of the polynomials that are at most no other one wherever the axes may be.

    What `Polynomial.at_most` says of each two is decided by their terms after shifting both to the
    lower bounds. Here each is shifted once, and compared with those alone that can be above it:
    the sum of their terms is no less.

    Cost: the number of polynomials times the number of those that are left.

    Args:
        polynomials: all different.
        lower: the smallest value of each axis; 0 where not given.
    """
    shifted = [_whole(each.shifted(lower).terms) for each in polynomials]
    totals = [sum(terms.values()) for terms in shifted]
    kept: list[int] = []
    for place in sorted(range(len(shifted)), key=lambda place: -totals[place]):
        if not any(_covers(shifted[other], shifted[place]) for other in kept):
            kept.append(place)
    return sorted(kept)


def _whole(terms: Mapping[Monomial, Fraction]) -> Terms:
    """The same terms, as integers where they are whole: those are compared ten times as fast."""
    return {key: c.numerator if c.denominator == 1 else c for key, c in terms.items()}


def _covers(upper: Terms, lower: Terms) -> bool:
    """Whether no term of `lower` is more than the same term of `upper`."""
    return all(upper.get(key, 0) >= c for key, c in lower.items()) and all(
        c >= 0 for key, c in upper.items() if key not in lower
    )
