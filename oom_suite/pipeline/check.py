"""The main job: take a subject, find its law, give the verdict. A subject never makes it raise."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oom_suite.allocator import peaks_of
from oom_suite.errors import OomSuiteError, SubjectError
from oom_suite.laws.derive import Derivation, derive
from oom_suite.laws.from_start import judge_from_start
from oom_suite.laws.judge import Judgement, judge
from oom_suite.pipeline.children import source_root, start_child
from oom_suite.pipeline.measured import Measured, measure, measuring_child
from oom_suite.processes.child import ChildError, Outcome
from oom_suite.processes.respawning import Respawning
from oom_suite.records import Afresh, BudgetFit, Result, Trace, Verdict
from oom_suite.subjects import family_of, parse
from oom_suite.units import format_bytes
from oom_suite.workloads.sparse_mla.workload import DECODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.records import SubjectSpec, Workload
    from oom_suite.targets.budgets import Budget

    OnProgress = Callable[[str, str], None]
    OnLaw = Callable[[str, Derivation, Callable[[Mapping[str, int]], Trace]], None]

DEFAULT_TIME_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How subjects are checked.

    Attributes:
        scenario: the scenario's name.
        sizes: the axes' values.
        workload: what is run.
        lane: ``"shadow"``, or ``"measure"`` for shadow's law and real tensors beside it.
        device: the device of the measure lane.
        arch: the GPU architecture that the code under test is told it runs on.
        budget: what the peak has to fit in; None for no budget.
        time_limit_s: seconds that one run may take.
        memory_limit_bytes: address space that one child may add; None for no limit.
        unexplained_bytes: what the measure lane may find beyond the prediction.
        num_repeats: how often the measure lane runs the call; all runs must be equal.
    """

    scenario: str
    sizes: Mapping[str, int]
    workload: Workload = field(default=DECODE)
    lane: str = "shadow"
    device: str = "cpu"
    arch: str = "generic"
    budget: Budget | None = None
    time_limit_s: float = DEFAULT_TIME_LIMIT_S
    memory_limit_bytes: int | None = None
    unexplained_bytes: int = 0
    num_repeats: int = 1


def _silent(subject: str, message: str) -> None:
    """Progress for nobody."""


def _unread(
    subject: str, derivation: Derivation, run: Callable[[Mapping[str, int]], Trace]
) -> None:
    """A derivation that nobody wants but the judge."""


def check_all(
    subjects: Sequence[str],
    settings: Settings,
    on_progress: OnProgress = _silent,
    on_result: Callable[[Result], None] = lambda _: None,
    on_law: OnLaw = _unread,
) -> list[Result]:
    """The results of these subjects, in their order; several run at once, each in its own child.

    Args:
        subjects: their spellings.
        settings: how they are checked.
        on_progress: told what each is doing.
        on_result: given each result, on the thread that found it.
        on_law: given each subject's derivation and what runs it at other sizes, while it can.

    Raises:
        UsageError: a spelling cannot be read. Nothing was run then.
    """
    specs = [parse(subject) for subject in subjects]

    def one(spec: SubjectSpec) -> Result:
        result = check(spec, settings, on_progress, on_law)
        on_result(result)
        return result

    with ThreadPoolExecutor(max_workers=max(1, min(len(specs), os.cpu_count() or 1))) as pool:
        return list(pool.map(one, specs))


def check(
    spec: SubjectSpec,
    settings: Settings,
    on_progress: OnProgress = _silent,
    on_law: OnLaw = _unread,
) -> Result:
    """The verdict on one subject. What goes wrong on the way is an INCONCLUSIVE result."""
    try:
        root = source_root(spec, on_progress)
        with measuring_child(spec, root, settings) as on_device:
            with Respawning(lambda: start_child(spec, root, settings, "shadow")) as child:
                run = _counted(child, spec, on_progress)
                derivation = derive(run, settings.workload, settings.sizes)
                judgement = judge(derivation, settings.workload)
                if derivation.unsteady and judgement.verdict is Verdict.INCONCLUSIVE:
                    derivation, judgement = _from_start(spec, root, settings, on_progress)
                on_law(spec.text, derivation, run)
            measured = None
            if on_device is not None:
                on_progress(spec.text, f"measuring on {settings.device}")
                measured = measure(on_device, spec, root, settings, derivation.trace)
    except ChildError as error:
        return _inconclusive(spec, settings, _explained(error))
    except OomSuiteError as error:
        return _inconclusive(spec, settings, str(error))
    return _result(spec, settings, derivation, judgement, measured)


def _from_start(
    spec: SubjectSpec, root: str | None, settings: Settings, on_progress: OnProgress
) -> tuple[Derivation, Judgement]:
    """The law of code that keeps state, each run in a fork of a child that has called nothing."""
    with Respawning(lambda: start_child(spec, root, settings, "shadow")) as child:

        def run(sizes: Mapping[str, int]) -> tuple[Trace, ...]:
            on_progress(spec.text, "it keeps state: shadow runs afresh")
            traces: tuple[Trace, ...] = child.ask(Afresh(dict(sizes), num_calls=2))
            return traces

        return judge_from_start(run, settings.workload, settings.sizes)


def _counted(
    child: Respawning, spec: SubjectSpec, on_progress: OnProgress
) -> Callable[[Mapping[str, int]], Trace]:
    num_runs = 0

    def run(sizes: Mapping[str, int]) -> Trace:
        nonlocal num_runs
        num_runs += 1
        on_progress(spec.text, f"shadow run {num_runs}")
        trace = child.ask(dict(sizes))
        if not isinstance(trace, Trace):
            msg = f"the child answered {type(trace).__name__} for a trace"
            raise SubjectError(msg)
        return trace

    return run


def _explained(error: ChildError) -> str:
    if error.outcome in {Outcome.NOT_APPLICABLE, Outcome.REFUSED}:
        prefix = "not applicable: " if error.outcome is Outcome.NOT_APPLICABLE else ""
        return f"{prefix}{error}"
    return f"{error.outcome.value}: {error}"


def _inconclusive(spec: SubjectSpec, settings: Settings, reason: str) -> Result:
    return Result(
        subject=spec.text,
        workload=settings.workload.name,
        lane=settings.lane,
        scenario=settings.scenario,
        sizes=settings.sizes,
        verdict=Verdict.INCONCLUSIVE,
        expected=_expected(spec, settings.workload),
        reason=reason,
    )


def _expected(spec: SubjectSpec, workload: Workload) -> Verdict:
    return Verdict.FAIL if family_of(spec).known_bug(spec, workload) else Verdict.PASS


def _result(
    spec: SubjectSpec,
    settings: Settings,
    derivation: Derivation,
    judgement: Judgement,
    measured: Measured | None,
) -> Result:
    trace = derivation.trace if measured is None else measured.trace
    peaks = (measured and measured.measurement.peaks) or peaks_of(trace)
    fit = _fit(settings.budget, peaks.allocated_bytes)
    verdict, reason = _with_measure(judgement, measured)
    if fit is not None and not fit.fits:
        over = f"{format_bytes(peaks.allocated_bytes)} do not fit {fit.name}"
        reason = f"{reason}; {over}" if verdict is Verdict.FAIL else over
        verdict = Verdict.FAIL
    known_bug = family_of(spec).known_bug(spec, settings.workload)
    return Result(
        subject=spec.text,
        workload=settings.workload.name,
        lane=settings.lane,
        scenario=settings.scenario,
        sizes=settings.sizes,
        verdict=verdict,
        expected=_expected(spec, settings.workload),
        reason=reason,
        law=derivation.law,
        peak_requested_bytes=peaks.requested_bytes,
        peak_allocated_bytes=peaks.allocated_bytes,
        peak_reserved_bytes=peaks.reserved_bytes,
        largest_request_bytes=trace.largest_request_bytes,
        budget=fit,
        blame=judgement.blame,
        unseen=derivation.trace.unseen,
        notes=(*((known_bug,) if known_bug else ()), *judgement.notes),
        measurement=None if measured is None else measured.measurement,
        reconciliation=None if measured is None else measured.reconciliation,
        next_command=family_of(spec).next_command(spec) if verdict is Verdict.FAIL else "",
    )


def _with_measure(judgement: Judgement, measured: Measured | None) -> tuple[Verdict, str]:
    """The verdict, kept from being green where the machine disagrees with the prediction.

    What breaks the contract without a device stays broken, whatever a device says.
    """
    if measured is None:
        return judgement.verdict, judgement.reason
    if not measured.problem:
        return judgement.verdict, f"{judgement.reason}; {measured.agreement}"
    if judgement.verdict is Verdict.PASS:
        return Verdict.INCONCLUSIVE, measured.problem
    return judgement.verdict, f"{judgement.reason}; {measured.problem}"


def _fit(budget: Budget | None, allocated_bytes: int) -> BudgetFit | None:
    if budget is None:
        return None
    return BudgetFit(budget.name, budget.free_bytes, allocated_bytes <= budget.free_bytes)


def exit_code(results: Sequence[Result]) -> int:
    """0 when all are as expected, 1 when a contract is broken, 3 when one is inconclusive."""
    if any(r.verdict is not Verdict.INCONCLUSIVE and not r.as_expected for r in results):
        return 1
    return 3 if any(r.verdict is Verdict.INCONCLUSIVE for r in results) else 0
