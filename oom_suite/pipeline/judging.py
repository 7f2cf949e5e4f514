"""From a program's runs to the verdict: one way, whoever asks.

`find_law` runs and proves, `judge_law` decides, and each of the small functions after it may take
a green verdict away or add what the reader must know; none makes a broken promise green.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.allocator import peaks_of
from oom_suite.errors import OomSuiteError
from oom_suite.laws.contracts import decide
from oom_suite.laws.derive import derive
from oom_suite.laws.from_start import judge_from_start
from oom_suite.laws.judge import judge
from oom_suite.laws.proof import CLOSED_FORM, DisagreementError, cross_check, prove
from oom_suite.pipeline.inside import with_bound, with_budget, with_opaque
from oom_suite.pipeline.measuring import Measured, measure, measure_beside
from oom_suite.records import Law, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.derive import Derivation
    from oom_suite.laws.judge import Judgement
    from oom_suite.laws.proof import Proof
    from oom_suite.pipeline.session import Runs
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Workload

_MAX_CHECKED = 12
"""Exact runs that a proved law is compared with; those of the fit are there already."""

_MAX_SHOWN_GUARDS = 3
_NOTHING_PROMISED = "nothing is promised"


@dataclass(frozen=True, slots=True)
class Study:
    """What is known of a program.

    Attributes:
        result: the verdict on it.
        derivation: its law and the evidence for it; None where it could not be run.
        proof: what symbols say of its law; None where it could not be run, or keeps state.
        proof_notes: those of the result's notes that say how the law was found.
    """

    result: Result
    derivation: Derivation | None = None
    proof: Proof | None = None
    proof_notes: tuple[str, ...] = ()


def study(runs: Runs, name: str, settings: Settings) -> Study:
    """The verdict on a program and the evidence. What goes wrong is an INCONCLUSIVE result.

    Args:
        runs: of the program.
        name: what it is called in reports.
        settings: sizes, contract, budget, device.
    """
    try:
        if settings.lane == "measure":
            runs.begin_measuring()
        derivation, judgement, proof = find_law(runs, settings)
        measured = _measured(runs, settings)
    except OomSuiteError as error:
        return Study(inconclusive(name, settings, str(error)))
    result = _judged(name, settings, derivation, judgement, measured)
    proof_notes: tuple[str, ...] = ()
    if proof is not None:
        result, proof_notes = _with_proof(result, settings.workload, derivation, proof)
        result = _with_lanes(result, proof, runs)
    result = _with_text(result, settings.law_text)
    result = _with_measured(result, measured, settings)
    result = with_opaque(with_bound(result, runs, settings), settings)
    result = with_budget(result, runs, settings)
    return Study(result, derivation, proof, proof_notes)


def inconclusive(name: str, settings: Settings, reason: str) -> Result:
    """The result of what could not be judged."""
    return Result(
        subject=name,
        workload=settings.workload.name,
        lane=settings.lane,
        scenario=settings.scenario,
        sizes=settings.sizes,
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
    )


def find_law(runs: Runs, settings: Settings) -> tuple[Derivation, Judgement, Proof | None]:
    """The fitted law, what it says of the contract, and the proof.

    The proof runs beside the fit, in a child of its own. Code that keeps state has no proof: its
    runs are judged from their start.

    Raises:
        OomSuiteError: the scenario itself cannot be run.
    """
    workload, sizes = settings.workload, settings.sizes
    fitted: Future[Derivation] = Future()

    def proved() -> Proof:
        return prove(runs.symbolic, fitted.result, workload, sizes)

    with ThreadPoolExecutor(max_workers=1) as beside:
        # Modes of torch belong to a process: here one lane has to wait for the other.
        proving = None if runs.is_here else beside.submit(proved)
        try:
            derivation = derive(runs.shadow, workload, sizes)
        except BaseException as error:
            fitted.set_exception(error)
            runs.interrupt_proof()
            raise
        fitted.set_result(derivation)
        judgement = judge(derivation, workload)
        if derivation.unsteady and judgement.verdict is Verdict.INCONCLUSIVE:
            return (*judge_from_start(runs.afresh, workload, sizes), None)
        return derivation, judgement, proved() if proving is None else proving.result()


def _measured(runs: Runs, settings: Settings) -> Measured:
    try:
        if settings.lane == "measure":
            return measure(runs, settings.workload, settings.sizes, settings)
        if settings.beside_sizes is not None:
            return measure_beside(runs, settings.workload, settings)
    finally:
        runs.leave_device()
    return Measured()


def _judged(
    name: str,
    settings: Settings,
    derivation: Derivation,
    judgement: Judgement,
    measured: Measured,
) -> Result:
    """The result as the fitted law has it, with the peaks of the device where it ran there."""
    trace = derivation.trace
    if settings.lane == "measure" and measured.trace is not None:
        trace = measured.trace
    measurement = measured.measurement
    at_scenario = settings.lane == "measure" and measurement is not None
    peaks = (measurement.peaks if at_scenario and measurement else None) or peaks_of(trace)
    return Result(
        subject=name,
        workload=settings.workload.name,
        lane=settings.lane,
        scenario=settings.scenario,
        sizes=settings.sizes,
        verdict=judgement.verdict,
        reason=judgement.reason,
        law=derivation.law,
        peak_requested_bytes=peaks.requested_bytes,
        peak_allocated_bytes=peaks.allocated_bytes,
        peak_reserved_bytes=peaks.reserved_bytes,
        largest_request_bytes=trace.largest_request_bytes,
        blame=judgement.blame,
        unseen=derivation.trace.unseen,
        notes=(*judgement.notes, *measured.notes),
        measurement=measurement,
        reconciliation=measured.reconciliation,
    )


def _with_proof(
    result: Result, workload: Workload, derivation: Derivation, proof: Proof
) -> tuple[Result, tuple[str, ...]]:
    """The result with the proved law, where it speaks in axes alone; and how the law was found."""
    forbidden = frozenset(workload.contract.independent_of)
    law, notes = _law(derivation, proof, forbidden)
    result = replace(result, law=law, notes=(*notes, *result.notes))
    return _with_forms(result, law, workload, proof), notes


def _with_forms(result: Result, law: Law, workload: Workload, proof: Proof) -> Result:
    """What the formulas themselves say of the contract."""
    if result.verdict is Verdict.FAIL:
        return result
    forbidden = frozenset(workload.contract.independent_of)
    # A regime may rule where nothing was run.
    every = (*((proof.main,) if proof.main is not None else ()), *proof.branches)
    wide = [branch.law for branch in every if _is_wide(branch, forbidden)]
    for each in (law, *wide):
        decision = decide(each, workload.contract)
        if decision is not None and decision.verdict is Verdict.FAIL:
            return replace(result, verdict=Verdict.FAIL, reason=decision.reason, law=each)
    decision = decide(law, workload.contract)
    if decision is not None and decision.verdict is Verdict.INCONCLUSIVE:
        return _weakened(result, decision.reason)
    if not workload.contract.linear_in:
        return result
    return _kept(result, f"at most linear in {', '.join(workload.contract.linear_in)}")


def _law(
    derivation: Derivation, proof: Proof, forbidden: frozenset[str]
) -> tuple[Law, tuple[str, ...]]:
    """The law to show, and how it was found: the proved one where it speaks in axes alone."""
    fitted = derivation.law
    if proof.how != CLOSED_FORM:
        return fitted, (f"fitted to {fitted.num_runs} exact runs, not proved: {proof.reason}",)
    branch = proof.branch_at(fitted.sizes)
    if branch is None or branch.law.held.keys() - fitted.held.keys():
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
    rest = f" and {more} more" if more > 0 else ""
    return f", where {', '.join(guards[:_MAX_SHOWN_GUARDS])}{rest}"


def _with_lanes(result: Result, proof: Proof, runs: Runs) -> Result:
    """The proved law must say, to the byte, what exact runs gave."""
    if proof.how != CLOSED_FORM:
        return result
    try:
        cross_check(proof, runs.known, runs.known_sizes[:_MAX_CHECKED])
    except DisagreementError as error:
        return _weakened(result, str(error))
    return result


def _with_text(result: Result, promised: str) -> Result:
    """The law must be the promised one, where one was."""
    if not promised or result.law is None or result.verdict is not Verdict.PASS:
        return result
    if "".join(promised.split()) == "".join(str(result.law).split()):
        return _kept(result, "the promised law")
    reason = f"the law is {result.law}, not the promised {promised}"
    return replace(result, verdict=Verdict.FAIL, reason=reason)


def _kept(result: Result, promise: str) -> Result:
    known = "" if result.reason == _NOTHING_PROMISED else f"{result.reason}, "
    return replace(result, reason=f"{known}{promise}")


def _with_measured(result: Result, measured: Measured, settings: Settings) -> Result:
    """The verdict, kept from being green where the machine disagrees with the prediction.

    What breaks the contract without a device stays broken, whatever a device says.
    """
    if measured.problem:
        return _weakened(result, measured.problem)
    # Beside a test's law a measurement at its small sizes matters to what is green alone.
    is_asked_for = settings.lane == "measure" or result.verdict is Verdict.PASS
    if measured.agreement and is_asked_for:
        return replace(result, reason=f"{result.reason}; {measured.agreement}")
    return result


def _weakened(result: Result, problem: str) -> Result:
    """Not green any more; what is broken stays broken."""
    if result.verdict is Verdict.PASS:
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=problem)
    return replace(result, reason=f"{result.reason}; {problem}")
