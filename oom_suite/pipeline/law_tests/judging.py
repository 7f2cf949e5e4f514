"""The verdict on a promise: derive, prove, shadow at production sizes, measure, compare."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oom_suite.allocator import peaks_of
from oom_suite.errors import OomSuiteError
from oom_suite.laws.contracts import decide
from oom_suite.laws.derive import derive
from oom_suite.laws.judge import judge
from oom_suite.laws.proof import CLOSED_FORM, DisagreementError, cross_check, prove
from oom_suite.pipeline.law_tests.machine import IS_COMPILED, machine_says
from oom_suite.records import BudgetFit, Law, Result, Trace, Verdict
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.derive import Derivation
    from oom_suite.laws.proof import Proof
    from oom_suite.pipeline.law_tests.promise import Promise
    from oom_suite.pipeline.law_tests.runs import Runs
    from oom_suite.records import Workload
    from oom_suite.targets.budgets import Budget

_MAX_CHECKED = 12
"""Exact runs that a proved law is compared with; those of the fit are there already."""

_MAX_SHOWN_GUARDS = 3


@dataclass(frozen=True, slots=True)
class Judging:
    """How promises are judged.

    Attributes:
        device: where the measure lane runs.
        budget: what the peak has to fit in, where the promise names nothing itself.
    """

    device: str = "cpu"
    budget: Budget | None = None


@dataclass
class _Shadow:
    """Exact runs, each kept."""

    runs: Runs
    traces: dict[tuple[tuple[str, int], ...], Trace] = field(default_factory=dict)

    def fresh(self, sizes: Mapping[str, int]) -> Trace:
        """A new run."""
        trace: Trace = self.runs.ask("shadow", dict(sizes))
        return self.traces.setdefault(tuple(sorted(sizes.items())), trace) and trace

    def known(self, sizes: Mapping[str, int]) -> Trace:
        """The run made before, or a new one."""
        return self.traces.get(tuple(sorted(sizes.items()))) or self.fresh(sizes)


def judge_promise(subject: str, promise: Promise, runs: Runs, judging: Judging) -> Result:
    """The verdict. What goes wrong on the way is an INCONCLUSIVE result.

    Args:
        subject: what the test is called in reports.
        promise: the axes and the contract.
        runs: runs the builder in a lane.
        judging: how to judge.
    """
    shadow = _Shadow(runs)
    workload = promise.workload
    try:
        derivation = derive(shadow.fresh, workload, promise.production)
        proof = prove(lambda h: runs.ask("prove", h), shadow.known, workload, promise.production)
        compiled = bool(runs.ask("shadow", IS_COMPILED))
        said = machine_says(promise, runs, shadow.known, judging.device, is_compiled=compiled)
    except OomSuiteError as error:
        return _inconclusive(subject, promise, str(error))
    judgement = judge(derivation, workload)
    law, notes = _law(derivation, proof, frozenset(workload.contract.independent_of))
    peaks = peaks_of(derivation.trace)
    result = Result(
        subject=subject,
        workload=workload.name,
        lane="shadow",
        scenario=promise.scenario,
        sizes=promise.production,
        verdict=judgement.verdict,
        reason=judgement.reason,
        law=law,
        peak_requested_bytes=peaks.requested_bytes,
        peak_allocated_bytes=peaks.allocated_bytes,
        peak_reserved_bytes=peaks.reserved_bytes,
        largest_request_bytes=derivation.trace.largest_request_bytes,
        blame=judgement.blame,
        unseen=derivation.trace.unseen,
        notes=(*notes, *judgement.notes, *said.notes),
        measurement=said.measurement,
        reconciliation=said.reconciliation,
    )
    result = _with_forms(result, workload, proof)
    result = _with_text(result, promise.law)
    result = _with_lanes(result, proof, shadow)
    if said.problem:
        result = _weakened(result, said.problem)
    elif said.agrees and result.verdict is Verdict.PASS:
        result = replace(result, reason=f"{result.reason}; measured to the byte")
    return _with_budget(result, promise.budget or judging.budget)


def _law(
    derivation: Derivation, proof: Proof, forbidden: frozenset[str]
) -> tuple[Law, tuple[str, ...]]:
    """The law to show, and how it was found: the proved one where it speaks in axes alone."""
    fitted = derivation.law
    if proof.how != CLOSED_FORM:
        return fitted, (f"fitted to {fitted.num_runs} exact runs, not proved: {proof.reason}",)
    branch = proof.branch_at(fitted.sizes)
    if branch is None or branch.law.held:
        named = [f"{a}={n:,}{f' at {at}' if at else ''}" for a, (n, at) in proof.held.items()]
        why = f"the code fixes {', '.join(named)}" if named else "no proved branch is taken here"
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
    others = f" and {more} more" if more > 0 else ""
    return f", where {', '.join(guards[:_MAX_SHOWN_GUARDS])}{others}"


def _with_forms(result: Result, workload: Workload, proof: Proof) -> Result:
    """What the formulas themselves say of the contract: a regime may rule where nothing was run."""
    if result.verdict is Verdict.FAIL or result.law is None:
        return result
    forbidden = frozenset(workload.contract.independent_of)
    every = (*((proof.main,) if proof.main is not None else ()), *proof.branches)
    wide = [branch.law for branch in every if _is_wide(branch, forbidden)]
    for law in (result.law, *wide):
        decision = decide(law, workload.contract)
        if decision is not None and decision.verdict is Verdict.FAIL:
            return replace(result, verdict=Verdict.FAIL, reason=decision.reason, law=law)
    decision = decide(result.law, workload.contract)
    if decision is not None and decision.verdict is Verdict.INCONCLUSIVE:
        return _weakened(result, decision.reason)
    if not workload.contract.linear_in:
        return result
    kept = f"at most linear in {', '.join(workload.contract.linear_in)}"
    known = "" if result.reason == "nothing is promised" else f"{result.reason}, "
    return replace(result, reason=f"{known}{kept}")


def _with_text(result: Result, promised: str) -> Result:
    """The law must be the promised one, where one was."""
    if not promised or result.law is None or result.verdict is not Verdict.PASS:
        return result
    if "".join(promised.split()) == "".join(str(result.law).split()):
        known = "" if result.reason == "nothing is promised" else f"{result.reason}, "
        return replace(result, reason=f"{known}the promised law")
    reason = f"the law is {result.law}, not the promised {promised}"
    return replace(result, verdict=Verdict.FAIL, reason=reason)


def _with_lanes(result: Result, proof: Proof, shadow: _Shadow) -> Result:
    """The proved law must say, to the byte, what exact runs gave."""
    if proof.how != CLOSED_FORM:
        return result
    points = [dict(key) for key in shadow.traces][:_MAX_CHECKED]
    try:
        cross_check(proof, shadow.known, points)
    except DisagreementError as error:
        return _weakened(result, str(error))
    return result


def _weakened(result: Result, problem: str) -> Result:
    """Not green any more; what is broken stays broken."""
    if result.verdict is Verdict.PASS:
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=problem)
    return replace(result, notes=(*result.notes, problem))


def _with_budget(result: Result, budget: Budget | None) -> Result:
    if budget is None or result.peak_allocated_bytes is None:
        return result
    num_bytes = result.peak_allocated_bytes
    fit = BudgetFit(budget.name, budget.free_bytes, num_bytes <= budget.free_bytes)
    if fit.fits:
        return replace(result, budget=fit)
    over = f"{format_bytes(num_bytes)} do not fit {fit.name}"
    reason = f"{result.reason}; {over}" if result.verdict is Verdict.FAIL else over
    return replace(result, budget=fit, verdict=Verdict.FAIL, reason=reason)


def _inconclusive(subject: str, promise: Promise, reason: str) -> Result:
    return Result(
        subject=subject,
        workload=promise.workload.name,
        lane="shadow",
        scenario=promise.scenario,
        sizes=promise.production,
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
    )
