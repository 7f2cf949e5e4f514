"""From a program's runs to the verdict: one way, whoever asks.

`find_law` runs and proves, `judge_law` decides, and each of the small functions after it may take
a green verdict away or add what the reader must know; none makes a broken promise green.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from oom_suite.allocator import peaks_of
from oom_suite.errors import OomSuiteError, TimeSpentError
from oom_suite.laws.derive import derive
from oom_suite.laws.from_start import judge_from_start
from oom_suite.laws.judge import judge
from oom_suite.laws.proof import prove
from oom_suite.pipeline.advising import ANYTHING, MEASURED, advice_on, with_advice
from oom_suite.pipeline.awaited import Awaited
from oom_suite.pipeline.breaking import with_breach
from oom_suite.pipeline.covering import with_coverage
from oom_suite.pipeline.flatness import Evidence, with_flat
from oom_suite.pipeline.host_law import with_host
from oom_suite.pipeline.inside import (
    takes_inside,
    with_bound,
    with_budget,
    with_kernel_terms,
    with_opaque,
)
from oom_suite.pipeline.measuring import Measured, measure, measure_beside
from oom_suite.pipeline.proved import kept_too, weakened, with_forms, with_lanes, with_proof
from oom_suite.pipeline.state import leaves_state, with_state
from oom_suite.pipeline.suggesting import with_suggestion
from oom_suite.pipeline.unfinished import MORE_TIME, unfinished
from oom_suite.pipeline.worst_case import worst_case
from oom_suite.processes.ending import threads
from oom_suite.records import Result, Verdict
from oom_suite.targets.target import label

if TYPE_CHECKING:
    from oom_suite.laws.derive import Derivation
    from oom_suite.laws.judge import Judgement
    from oom_suite.laws.proof import Proof
    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Contract


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
    """The verdict on a program and the evidence. What goes wrong is an INCONCLUSIVE result."""
    try:
        if settings.lane == "measure":
            runs.begin_measuring()
        derivation, judgement, proof = find_law(runs, settings)
        measured = _measured(runs, settings)
    except OomSuiteError as error:
        return Study(inconclusive(name, settings, str(error), advice_on(error)))
    except TimeSpentError as error:
        result = inconclusive(name, settings, str(error), MORE_TIME)
        return Study(unfinished(result, runs, settings))
    found = (derivation, judgement, proof)
    try:
        return _weighed(name, runs, settings, found, measured)
    except TimeSpentError as error:
        result = weakened(_judged(name, settings, derivation, judgement, measured), str(error))
        return Study(replace(result, advice=(*result.advice, MORE_TIME)), derivation, proof)


def _weighed(
    name: str,
    runs: Runs,
    settings: Settings,
    found: tuple[Derivation, Judgement, Proof | None],
    measured: Measured,
) -> Study:
    """The result with all that the formulas, further runs and the device say of it."""
    derivation, _, proof = found
    result, proof_notes = _by_contract(name, runs, settings, found, measured)
    result = with_state(result, runs, settings)
    result = _with_text(result, settings.law_text)
    result = _with_measured(result, measured, settings)
    result = with_kernel_terms(result, runs, settings)
    result = with_opaque(with_bound(result, runs, settings), settings)
    result = with_budget(result, runs, settings)
    result = with_coverage(result, runs, settings, derivation, proof)
    result = with_breach(result, derivation, proof, settings.law_text)
    if settings.suggest and proof is not None:
        again = partial(_judged_again, name, runs, settings, proof)
        # The verdict is whole without it.
        with contextlib.suppress(TimeSpentError):
            result = with_suggestion(result, settings.workload.contract, again)
    return Study(with_advice(result), derivation, proof, proof_notes)


def _by_contract(
    name: str,
    runs: Runs,
    settings: Settings,
    found: tuple[Derivation, Judgement, Proof | None],
    measured: Measured,
) -> tuple[Result, tuple[str, ...]]:
    """What runs and formulas say of the contract; and the notes on how the law was found."""
    derivation, judgement, proof = found
    result = _judged(name, settings, derivation, judgement, measured)
    notes: tuple[str, ...] = ()
    if proof is not None:
        result, notes = with_proof(result, settings.workload, derivation, proof)
        result = with_lanes(result, proof, runs.known, runs.known_sizes)
    else:
        result = with_forms(result, derivation.law, settings.workload, derivation)
    symbolic = None if proof is None else runs.symbolic
    result = with_flat(result, Evidence(runs.known, symbolic, settings.workload, settings.sizes))
    return with_host(result, runs, settings, proof), notes


def _judged_again(
    name: str, runs: Runs, settings: Settings, proof: Proof, contract: Contract
) -> Result:
    """The verdict on another contract, from the runs that there are and what it needs besides."""
    workload = replace(settings.workload, contract=contract)
    other = replace(settings, workload=workload, lane="shadow", law_text="", budget=None)
    derivation = derive(runs.known, workload, settings.sizes, lambda: proof)
    flat = (*contract.bounded_in, *(axis for axis, _ in contract.constant_after))
    rising = next(filter(derivation.rises_in, flat), None)
    if rising is not None:
        # To look for a size from which on it does not would take a hundred runs.
        return inconclusive(name, other, f"peak grows with {rising} at all sizes")
    found = (derivation, judge(derivation, workload), proof)
    result, _ = _by_contract(name, runs, other, found, Measured())
    result = with_kernel_terms(result, runs, other)
    return with_opaque(with_bound(result, runs, other), other)


def inconclusive(name: str, settings: Settings, reason: str, *advice: str) -> Result:
    """The result of what could not be judged."""
    return Result(
        subject=name,
        workload=settings.workload.name,
        lane=settings.lane,
        scenario=settings.scenario,
        sizes=settings.sizes,
        target=label(settings.target),
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
        advice=advice or (ANYTHING,),
    )


def find_law(runs: Runs, settings: Settings) -> tuple[Derivation, Judgement, Proof | None]:
    """The fitted law, what it says of the contract, and the proof.

    The proof runs in a child of its own. As long as it may turn out to hold for all sizes, the fit
    waits for it; otherwise they run beside each other. Code that keeps state has no proof: its runs
    are judged from their start.

    Raises:
        OomSuiteError: the scenario itself cannot be run.
    """
    workload, sizes = settings.workload, settings.sizes
    if runs.is_here and leaves_state(runs, sizes):
        # This process is to stay as it is: each run has a fork that none came before.
        runs.run_afresh()
        return (*judge_from_start(runs.afresh, workload, sizes), None)
    fitted: Future[Derivation] = Future()
    awaited = Awaited(runs.symbolic, workload)

    def proved() -> Proof:
        with awaited:
            return awaited.given(prove(awaited.symbolic, fitted.result, workload, sizes))

    def sparing() -> Proof | None:
        return None if runs.is_here or takes_inside(runs, settings) else awaited.proof()

    with threads(1) as beside:
        # Modes of torch belong to a process: here one lane has to wait for the other.
        proving = None if runs.is_here else beside.submit(proved)
        try:
            derivation = derive(runs.shadow, workload, sizes, sparing)
        except BaseException as error:
            fitted.set_exception(error)
            runs.interrupt_proof()
            raise
        fitted.set_result(derivation)
        judgement = judge(derivation, workload)
        if derivation.unsteady:
            # Runs that depend on those before them are evidence of nothing.
            return (*judge_from_start(runs.afresh, workload, sizes), None)
        proof = proved() if proving is None else proving.result()
        found = worst_case(runs, workload, sizes, (derivation, judgement), proof)
        return (*found, proof)


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
        target=label(settings.target),
        verdict=judgement.verdict,
        reason=judgement.reason,
        law=derivation.law,
        peak_requested_bytes=peaks.requested_bytes,
        peak_allocated_bytes=peaks.allocated_bytes,
        peak_reserved_bytes=peaks.reserved_bytes,
        largest_request_bytes=trace.largest_request_bytes,
        blame=judgement.blame,
        breach=judgement.breach,
        advice=judgement.advice,
        unseen=derivation.trace.unseen,
        notes=(*judgement.notes, *measured.notes),
        measurement=measurement,
        reconciliation=measured.reconciliation,
    )


def _with_text(result: Result, promised: str) -> Result:
    """The law must be the promised one, where one was."""
    if not promised or result.law is None or result.verdict is not Verdict.PASS:
        return result
    if "".join(promised.split()) == "".join(str(result.law).split()):
        return kept_too(result, "the promised law")
    reason = f"the law is {result.law}, not the promised {promised}"
    return replace(result, verdict=Verdict.FAIL, reason=reason, holds=f'law="{result.law}"')


def _with_measured(result: Result, measured: Measured, settings: Settings) -> Result:
    """The verdict, kept from being green where the machine disagrees with the prediction.

    What breaks the contract without a device stays broken, whatever a device says.
    """
    if measured.problem:
        return weakened(result, measured.problem, MEASURED)
    # Beside a test's law a measurement at its small sizes matters to what is green alone.
    is_asked_for = settings.lane == "measure" or result.verdict is Verdict.PASS
    if measured.agreement and is_asked_for:
        return replace(result, reason=f"{result.reason}; {measured.agreement}")
    return result
