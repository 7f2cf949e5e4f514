"""What a proof says of a result: the law in closed form, and the contract decided on formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.laws.contracts import decide
from oom_suite.laws.proof import CLOSED_FORM, DisagreementError, cross_check
from oom_suite.pipeline.advising import DISAGREEMENT
from oom_suite.pipeline.breaking import broken, regimes_of
from oom_suite.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.derive import Derivation
    from oom_suite.laws.proof import Proof
    from oom_suite.records import Law, Result, Trace, Workload

_MAX_SHOWN_GUARDS = 3
_NOTHING_PROMISED = "nothing is promised"


def with_proof(
    result: Result, workload: Workload, derivation: Derivation, proof: Proof
) -> tuple[Result, tuple[str, ...]]:
    """The result with the proved law, where it speaks in axes alone; and how the law was found."""
    forbidden = frozenset(workload.contract.independent_of)
    law, notes = _law(derivation, proof, forbidden)
    details = (*result.details, *([proof.detail] if proof.detail not in {"", proof.reason} else []))
    result = replace(result, law=law, notes=(*notes, *result.notes), details=details)
    return with_forms(result, law, workload, derivation, proof), notes


def with_forms(
    result: Result,
    law: Law,
    workload: Workload,
    derivation: Derivation,
    proof: Proof | None = None,
) -> Result:
    """What the formulas themselves say of the contract.

    Args:
        result: as the runs have it.
        law: the law that is shown.
        workload: has the contract.
        derivation: has the laws that were found elsewhere.
        proof: has those on the other sides of guards; None where there is none.
    """
    if result.verdict is Verdict.FAIL:
        return result
    forbidden = frozenset(workload.contract.independent_of)
    # A regime may rule where nothing was run.
    branches = () if proof is None else (proof.main, *proof.branches)
    every = [branch for branch in branches if branch is not None]
    wide = [branch.law for branch in every if _is_wide(branch, forbidden)]
    for each in (law, *wide, *(change.law for change in derivation.elsewhere)):
        decision = decide(each, workload.contract)
        if decision is not None and decision.verdict is Verdict.FAIL:
            return broken(result, each, decision, regimes_of(derivation, proof))
    decision = decide(law, workload.contract)
    if decision is not None and decision.verdict is Verdict.INCONCLUSIVE:
        held = ", ".join(f"{axis!r}: ..." for axis in law.held)
        return weakened(
            result, decision.reason, f"say at which distance the code is regular: steps={{{held}}}"
        )
    if not workload.contract.linear_in:
        return result
    return kept_too(result, f"at most linear in {', '.join(workload.contract.linear_in)}")


def _law(
    derivation: Derivation, proof: Proof, forbidden: frozenset[str]
) -> tuple[Law, tuple[str, ...]]:
    """The law to show, and how it was found: the proved one where it speaks in axes alone."""
    fitted = derivation.law
    if proof.how != CLOSED_FORM:
        return fitted, (f"fitted to {fitted.num_runs} exact runs, not proved: {proof.reason}",)
    branch = proof.branch_at(fitted.sizes)
    if branch is None or branch.law.held.keys() - fitted.held.keys():
        named = [f"{axis}{f' at {at}' if at else ''}" for axis, (_, at) in proof.held.items()]
        why = "the code branches, and what was proved is not the branch of the scenario"
        if named:
            why = f"the code takes the number of {', '.join(named)}, as range() and int() do"
        return fitted, (f"fitted to {fitted.num_runs} exact runs, not proved: {why}",)
    where = _where([str(guard.formula) for guard in branch.guards])
    if not _is_wide(branch, forbidden):
        return fitted, (f"fitted to {fitted.num_runs} exact runs, proved only{where[1:]}",)
    proved = f"proved in closed form{where}"
    if not branch.law.axes <= fitted.sizes.keys():
        return fitted, (f"{proved}: {branch.law}", *branch.law.notes)
    regimes = sorted(branch.law.regimes, key=lambda regime: -regime(fitted.sizes))
    # Found with other numbers as hints, and true of these.
    law = replace(branch.law, regimes=tuple(regimes), sizes=fitted.sizes, notes=())
    return law, (proved,)


def _is_wide(branch: Branch, forbidden: frozenset[str]) -> bool:
    """Whether it speaks of all values of the forbidden axes: elsewhere its terms mean nothing."""
    return not any(guard.formula.names & forbidden for guard in branch.guards)


def _where(guards: Sequence[str]) -> str:
    if not guards:
        return ""
    more = len(guards) - _MAX_SHOWN_GUARDS
    rest = f" and {more} more" if more > 0 else ""
    return f", where {', '.join(guards[:_MAX_SHOWN_GUARDS])}{rest}"


def with_lanes(
    result: Result,
    proof: Proof,
    exact: Callable[[Mapping[str, int]], Trace],
    sizes: Sequence[Mapping[str, int]],
) -> Result:
    """The proved law must say, to the byte, what exact runs gave."""
    if proof.how != CLOSED_FORM:
        return result
    try:
        cross_check(proof, exact, sizes)
    except DisagreementError as error:
        return weakened(result, str(error), DISAGREEMENT)
    return result


def kept_too(result: Result, promise: str) -> Result:
    """The result with one more promise that is kept."""
    known = "" if result.reason == _NOTHING_PROMISED else f"{result.reason}, "
    return replace(result, reason=f"{known}{promise}")


def weakened(result: Result, problem: str, *advice: str) -> Result:
    """Not green any more; what is broken stays broken."""
    result = replace(result, advice=(*result.advice, *advice))
    if result.verdict is Verdict.PASS:
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=problem)
    return replace(result, reason=f"{result.reason}; {problem}")
