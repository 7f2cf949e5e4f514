"""Every broken promise has its terms and its lines: no failure leaves the reader to search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError
from oom_suite.laws.blame import blame_terms
from oom_suite.laws.breach import largest_terms, regime_of
from oom_suite.laws.contracts import parse_polynomial
from oom_suite.records import Breach, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oom_suite.laws.contracts import Decision
    from oom_suite.laws.derivation import Derivation
    from oom_suite.laws.fit import Regime
    from oom_suite.laws.proof import Proof
    from oom_suite.records import Blame, Law, Polynomial, Result


def regimes_of(derivation: Derivation, proof: Proof | None) -> tuple[Regime, ...]:
    """Every regime that was fitted or proved, those around the scenario first."""
    elsewhere = (regime for change in derivation.elsewhere for regime in change.regimes)
    proved = (
        () if proof is None else (*proof.regimes, *(r for b in proof.branches for r in b.regimes))
    )
    return (*derivation.regimes, *elsewhere, *proved)


def broken(result: Result, law: Law, decision: Decision, regimes: Iterable[Regime]) -> Result:
    """The result of a law whose terms break a promise, with the lines that make them.

    Args:
        result: what is known besides.
        law: the law; it is the result's from now on.
        decision: which of its terms break what.
        regimes: those that are known, with what is alive in each.
    """
    assert decision.formula is not None
    return replace(
        result,
        verdict=Verdict.FAIL,
        reason=decision.reason,
        law=law,
        blame=_lines(law, decision.formula, decision.guilty, regimes),
        breach=Breach(law.sizes, decision.formula, decision.guilty),
    )


def with_breach(
    result: Result, derivation: Derivation, proof: Proof | None, promised: str
) -> Result:
    """The result; where it is broken and no term is named yet, the largest one and its lines.

    Args:
        result: the verdict.
        derivation: what is alive where.
        proof: likewise; None where there is none.
        promised: the law's own text, where one was promised: its terms are not to blame.
    """
    law = result.law
    if result.verdict is not Verdict.FAIL or law is None or (result.breach and result.blame):
        return result
    formula = law.here
    terms = _unpromised(formula, promised, law) or largest_terms(formula, law.sizes)
    blame = result.blame or _lines(law, formula, terms, regimes_of(derivation, proof))
    return replace(result, blame=blame, breach=result.breach or Breach(law.sizes, formula, terms))


def _lines(
    law: Law, formula: Polynomial, terms: Sequence[Polynomial], regimes: Iterable[Regime]
) -> tuple[Blame, ...]:
    regime = regime_of(formula, regimes)
    if regime is None:
        return ()
    # What data decides has no size of its own to be shown at.
    sizes = {**dict.fromkeys(sorted(formula.axes), 1), **law.sizes}
    return blame_terms(regime, terms, sizes)


def _unpromised(formula: Polynomial, promised: str, law: Law) -> tuple[Polynomial, ...]:
    """The terms that a promised law does not have; none where its text is no polynomial."""
    if not promised:
        return ()
    try:
        allowed = parse_polynomial(promised, tuple(law.sizes))
    except UsageError:
        return ()
    return tuple(term for term in formula.parts if not term.terms.items() <= allowed.terms.items())
