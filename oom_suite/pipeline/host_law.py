"""The second law: host bytes that tensors take, pageable and pinned apart, by the same contract."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.derive import derive
from oom_suite.laws.evidence import allocate_alike
from oom_suite.laws.from_start import judge_from_start
from oom_suite.laws.judge import judge
from oom_suite.laws.proof import CLOSED_FORM, prove
from oom_suite.pipeline.advising import advice_on
from oom_suite.pipeline.flatness import Evidence, with_flat
from oom_suite.pipeline.proved import with_forms, with_lanes, with_proof
from oom_suite.records import Bound, HostMemory, Law, Polynomial, Result, Verdict
from oom_suite.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.laws.proof import Proof
    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Trace, Workload
    from oom_suite.records.symbolic import Hints, SymbolicTrace

    Exact = Callable[[Mapping[str, int]], Trace]

CONSTANT_BYTES = MIB
"""Host bytes that no axis changes and that ``at_most`` does not count: literals, small tables."""

KINDS = ("pageable", "pinned")
_ORDER = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


def with_host(result: Result, runs: Runs, settings: Settings, proof: Proof | None) -> Result:
    """The result with the host's laws; its verdict is the worst of them and the device's.

    Args:
        result: what is known of the device's memory.
        runs: of the program; those that were made are not made again.
        settings: the workload says whether it promises anything of the host.
        proof: the device's proof; None where the code keeps state.

    **Does not prove:** what libraries, Python objects and NumPy's own arrays take.
    """
    if not settings.workload.host:
        return result
    for kind in KINDS:
        result = _with_kind(result, kind, runs, settings, proof)
    return result


def _with_kind(
    result: Result,
    kind: str,
    runs: Runs,
    settings: Settings,
    proof: Proof | None,
) -> Result:
    known = [_of(kind, runs.known(sizes)) for sizes in runs.known_sizes]
    if not any(trace.allocations for trace in known):
        return result
    first = known[0].peak().num_bytes
    if first <= CONSTANT_BYTES and all(allocate_alike(known[0], trace) for trace in known):
        law = Law((_constant(first),), dict(settings.sizes), num_runs=len(known))
        found = HostMemory(kind, law, first, Verdict.PASS, "the same at all sizes")
        return replace(result, host=(*result.host, found))
    try:
        judged = _judged(result, kind, runs, settings, proof)
    except OomSuiteError as error:
        judged = replace(
            result,
            verdict=Verdict.INCONCLUSIVE,
            reason=str(error),
            blame=(),
            breach=None,
            advice=(advice_on(error),),
        )
    assert judged.law is not None
    peak_bytes = judged.peak_requested_bytes or 0
    found = HostMemory(kind, judged.law, peak_bytes, judged.verdict, judged.reason)
    result = replace(result, host=(*result.host, found))
    if judged.verdict is Verdict.PASS:
        return result
    why = f"{found.name}: {judged.reason}"
    worse = min(result.verdict, judged.verdict, key=_ORDER.index)
    reason = why if result.verdict is Verdict.PASS else f"{result.reason}; {why}"
    if judged.verdict is Verdict.FAIL and result.verdict is Verdict.INCONCLUSIVE:
        reason = f"{why}; {result.reason}"
    own = None if judged.breach is None else replace(judged.breach, memory=found.name)
    return replace(
        result,
        verdict=worse,
        reason=reason,
        blame=(*result.blame, *judged.blame),
        breach=result.breach or own,
        advice=(*result.advice, *judged.advice),
    )


def _judged(
    device: Result,
    kind: str,
    runs: Runs,
    settings: Settings,
    proof: Proof | None,
) -> Result:
    """The result as if the host's memory of this kind were all there is."""
    workload, sizes = _allowing(settings.workload), settings.sizes

    asked: list[Mapping[str, int]] = []

    def exact(at: Mapping[str, int]) -> Trace:
        return _of(kind, runs.known(at))

    def run(at: Mapping[str, int]) -> Trace:
        # Asked a second time, it is to be a new run: that shows whether state is kept.
        is_again = at in asked
        asked.append(at)
        return _of(kind, runs.shadow(at)) if is_again else exact(at)

    def afresh(at: Mapping[str, int]) -> tuple[Trace, ...]:
        return tuple(_of(kind, trace) for trace in runs.afresh(at))

    found = None if proof is None else derive(run, workload, sizes)
    if found is None or found.unsteady:
        proof, (found, judgement) = None, judge_from_start(afresh, workload, sizes)
    else:
        judgement = judge(found, workload)
    result = replace(
        device,
        verdict=judgement.verdict,
        reason=judgement.reason,
        law=found.law,
        blame=judgement.blame,
        breach=judgement.breach,
        advice=judgement.advice,
        peak_requested_bytes=found.trace.peak().num_bytes,
        notes=(),
    )
    if proof is None or proof.how != CLOSED_FORM:
        result = with_forms(result, found.law, workload, found)
        return with_flat(result, Evidence(exact, None, workload, sizes))

    def symbolic(hints: Hints) -> SymbolicTrace:
        trace = runs.symbolic(hints)
        made = trace.host if kind == KINDS[0] else trace.pinned
        assert made is not None
        return made

    own = prove(symbolic, lambda: found, workload, sizes)
    result, _ = with_proof(result, workload, found, own)
    result = with_lanes(result, own, exact, runs.known_sizes)
    return with_flat(result, Evidence(exact, symbolic, workload, sizes))


def _of(kind: str, trace: Trace) -> Trace:
    """What the shadow lane saw of one kind of host memory."""
    found = trace.host if kind == KINDS[0] else trace.pinned
    return replace(trace, allocations=(), events=(), unseen=()) if found is None else found


def _allowing(workload: Workload) -> Workload:
    """The workload with a bound that leaves room for what no axis changes."""
    bound = workload.contract.at_most
    if bound is None:
        return workload
    room = Bound.of(bound).plus(CONSTANT_BYTES)
    return replace(workload, contract=replace(workload.contract, at_most=room))


def _constant(num_bytes: int) -> Polynomial:
    return Polynomial.of({(): Fraction(num_bytes)})
