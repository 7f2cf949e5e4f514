"""The source lines that make a term of a law."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oom_suite.laws.derivation import Derivation
    from oom_suite.laws.fit import Regime
    from oom_suite.records import Frame, Polynomial
    from oom_suite.records.law import Monomial
    from oom_suite.records.lock import Difference, GrownTerm, Growth


def lines_of(monomial: Monomial, regime: Regime) -> list[tuple[Frame | None, Fraction]]:
    """The lines whose tensors are alive in a regime and make that term, the largest part first.

    Each with its part of the term's coefficient; None stands for what no line of the code
    under test allocated.
    """
    parts: dict[Frame | None, Fraction] = {}
    for ((_, stack), _), held in regime.live:
        part = held.terms.get(monomial)
        if part:
            line = stack[0] if stack else None
            parts[line] = parts.get(line, Fraction(0)) + part
    return sorted(parts.items(), key=lambda item: (-item[1], str(item[0])))


def with_lines(difference: Difference, derivation: Derivation | None) -> Difference:
    """The difference with the lines that brought its growth, where the derivation tells."""
    if derivation is None:
        return difference
    growths = tuple(_growth_with_lines(each, derivation) for each in difference.growths)
    return replace(difference, growths=growths)


def _growth_with_lines(growth: Growth, derivation: Derivation) -> Growth:
    regime = _regime_of(growth.now, derivation)
    if regime is None:
        return growth
    terms = tuple(_term_with_lines(term, regime) for term in growth.terms)
    return replace(growth, terms=terms)


def _regime_of(formula: Polynomial, derivation: Derivation) -> Regime | None:
    others = (regime for change in derivation.elsewhere for regime in change.regimes)
    for regime in (*derivation.regimes, *others):
        if regime.polynomial == formula:
            return regime
    return None


def _term_with_lines(term: GrownTerm, regime: Regime) -> GrownTerm:
    (monomial,) = term.term.terms
    lines = [(line, part) for line, part in lines_of(monomial, regime) if line and part > 0]
    # One line that holds just what was added brought it; the others were there before.
    exact = [each for each in lines if each[1] == term.added]
    return replace(term, lines=tuple(exact if len(exact) == 1 else lines))
