"""The main job: from subjects to verdicts. What a subject does never makes it raise."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.pipeline.advising import advice_on
from oom_suite.pipeline.judging import Study, inconclusive, study
from oom_suite.pipeline.programs import SubjectProgram
from oom_suite.pipeline.session import Session
from oom_suite.pipeline.settings import silent
from oom_suite.processes.ending import threads
from oom_suite.records import Result, Verdict
from oom_suite.subjects import family_of, obtain, parse, workloads_for
from oom_suite.targets.budgets import budget as find_budget
from oom_suite.targets.default import default_targets
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import OnProgress, Settings
    from oom_suite.records import SubjectSpec
    from oom_suite.targets.budgets import Budget

    Then = Callable[[Study, Runs], None]


def _nothing_more(found: Study, runs: Runs) -> None:
    """A study that nobody wants to look at further."""


def check_all(
    subjects: Sequence[str],
    settings: Settings,
    on_progress: OnProgress = silent,
    on_result: Callable[[Result], None] = lambda _: None,
    then: Then = _nothing_more,
) -> list[Study]:
    """The studies of these subjects with the same settings, in their order.

    Args:
        subjects: their spellings.
        settings: how they are checked.
        on_progress: given what each is doing.
        on_result: given each result, on the thread that found it.
        then: given each study whose law was found, while its program can still be run.

    Raises:
        UsageError: a spelling cannot be read. Nothing was run then.
    """
    cases = [(parse(subject), settings) for subject in subjects]
    return check_cases(cases, on_progress, on_result, then)


def check_cases(
    cases: Sequence[tuple[SubjectSpec, Settings]],
    on_progress: OnProgress = silent,
    on_result: Callable[[Result], None] = lambda _: None,
    then: Then = _nothing_more,
) -> list[Study]:
    """The studies of subjects, each with settings of its own, in their order.

    Several run at once, each in children of its own.
    """

    def one(case: tuple[SubjectSpec, Settings]) -> Study:
        found = check(*case, on_progress, then)
        on_result(found.result)
        return found

    with threads(min(len(cases), os.cpu_count() or 1)) as pool:
        return list(pool.map(one, cases))


def check(
    spec: SubjectSpec,
    settings: Settings,
    on_progress: OnProgress = silent,
    then: Then = _nothing_more,
) -> Study:
    """The verdict on one subject. What goes wrong on the way is an INCONCLUSIVE result."""
    try:
        program = program_of(spec, settings, on_progress)
    except OomSuiteError as error:
        return _named(
            spec, settings, Study(inconclusive(spec.text, settings, str(error), advice_on(error)))
        )
    with Session.of(settings, on_progress) as session:
        lane = LaneSpec("measure", device=settings.device, target=settings.target)
        runs = session.open(program, spec.text, lane)
        found = study(runs, spec.text, settings)
        if found.derivation is not None:
            then(found, runs)
    return _named(spec, settings, found)


def program_of(spec: SubjectSpec, settings: Settings, on_progress: OnProgress) -> SubjectProgram:
    """The subject on the settings' workload, its sources fetched where they are not here yet.

    Raises:
        FetchError: they cannot be had.
    """

    def fetched(done_bytes: int, total_bytes: int) -> None:
        shown = f"{format_bytes(done_bytes)} of {format_bytes(total_bytes)}"
        on_progress(spec.text, f"fetching {shown}")

    root = obtain(spec, fetched)
    return SubjectProgram(spec, settings.workload, root, settings.arch, settings.instead_of)


def _named(spec: SubjectSpec, settings: Settings, found: Study) -> Study:
    """The study with what is known of a subject by its name."""
    result, family = found.result, family_of(spec)
    known_bug = family.known_bug(spec, settings.workload)
    known = (*((known_bug,) if known_bug else ()), *family.notes(spec)) if result.law else ()
    return replace(
        found,
        result=replace(
            result,
            expected=Verdict.FAIL if known_bug else Verdict.PASS,
            notes=(*known, *result.notes),
            next_command=_next_command(spec, settings, result),
        ),
    )


def _next_command(spec: SubjectSpec, settings: Settings, result: Result) -> str:
    """What to run next, with the options that the verdict hangs on; empty where nothing is."""
    failed = result.verdict is Verdict.FAIL
    command = family_of(spec).next_command(spec) if failed else ""
    if not command:
        return ""
    workload, target = settings.workload, settings.target
    first = next(iter(workloads_for(spec)), workload)
    known = workload.scenarios.get(settings.scenario)
    usual = known.sizes if known is not None else {}
    usual_targets = settings.usual_targets or default_targets()
    words = ["--workload", workload.name] if first.name != workload.name else []
    if known is not None and known.name != workload.scenario(None).name:
        words += ["--scenario", known.name]
    for axis, size in settings.sizes.items():
        words += ["--set", f"{axis}={size}"] if usual.get(axis, size) != size else []
    words += ["--target", target] if target not in usual_targets else []
    if result.budget is not None and not result.budget.fits and settings.budget is not None:
        words += ["--budget", _spelled(settings.budget)]
    return f"{command} {shlex.join(words)}" if words else command


def _spelled(budget: Budget) -> str:
    """A budget as an option takes it; what was free on a device, in bytes."""
    try:
        return find_budget(budget.name).name
    except UsageError:
        return f"{budget.free_bytes}B"


def exit_code(results: Sequence[Result]) -> int:
    """0 when all are as expected, 1 when a contract is broken, 3 when one is inconclusive."""
    if any(r.verdict is not Verdict.INCONCLUSIVE and not r.as_expected for r in results):
        return 1
    return 3 if any(r.verdict is Verdict.INCONCLUSIVE for r in results) else 0
