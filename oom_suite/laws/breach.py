"""Which terms of which formula break a promise, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.records import Bound, Breach, Polynomial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oom_suite.laws.derivation import Derivation, Violation
    from oom_suite.laws.fit import Regime
    from oom_suite.records import Workload


_SHARE = 8
"""A term is to blame for a broken bound when it makes more than this part of what is over it."""


def terms_with(formula: Polynomial, axes: Iterable[str]) -> tuple[Polynomial, ...]:
    """The terms of a formula that any of these axes is in."""
    wanted = frozenset(axes)
    return tuple(term for term in formula.parts if term.axes & wanted)


def growth(formula: Polynomial, axes: Iterable[str], sizes: Mapping[str, int]) -> Breach:
    """A formula that forbidden axes are in."""
    return Breach(sizes, formula, terms_with(formula, axes))


def excess(formula: Polynomial, limit: Polynomial | Bound, sizes: Mapping[str, int]) -> Breach:
    """A formula over a bound: the terms that the bound has less of, else the largest one."""
    difference = formula - Bound.of(limit).rules_at(sizes)
    over = {next(iter(part.terms)): part(sizes) for part in difference.parts}
    least = sum(number for number in over.values() if number > 0) / _SHARE
    terms = tuple(term for term in formula.parts if over.get(next(iter(term.terms)), 0) > least)
    return Breach(sizes, formula, terms or largest_terms(formula, sizes))


def of_run(violation: Violation, derivation: Derivation, workload: Workload) -> Breach:
    """A run over the bound: by the formula that says its peak, where one does."""
    regime, limit = regime_at(derivation, violation), workload.contract.at_most
    if regime is None or limit is None:
        seen = f"{violation.peak_bytes:,} bytes, allowed {violation.limit_bytes:,}"
        return Breach(violation.sizes, seen=seen)
    return excess(regime.polynomial, limit, violation.sizes)


def largest_terms(formula: Polynomial, sizes: Mapping[str, int]) -> tuple[Polynomial, ...]:
    """The term that takes the most bytes at these sizes; none of an empty formula."""
    known = [term for term in formula.parts if term.axes <= sizes.keys()]
    return tuple(sorted(known, key=lambda term: -term(sizes))[:1])


def regime_at(derivation: Derivation, violation: Violation) -> Regime | None:
    """A regime that says the peak of that run to the byte; None where none does."""
    regimes = (*derivation.regimes, *(r for c in derivation.elsewhere for r in c.regimes))
    exact = (r for r in regimes if r.polynomial(violation.sizes) == violation.peak_bytes)
    return next(exact, None)


def regime_of(formula: Polynomial, regimes: Iterable[Regime]) -> Regime | None:
    """The regime with that formula; None where there is none."""
    return next((regime for regime in regimes if regime.polynomial == formula), None)
