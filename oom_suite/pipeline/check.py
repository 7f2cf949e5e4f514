"""The main job: from subjects to verdicts. What a subject does never makes it raise."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.judging import Study, inconclusive, study
from oom_suite.pipeline.programs import SubjectProgram
from oom_suite.pipeline.session import Session
from oom_suite.pipeline.settings import silent
from oom_suite.pipeline.sources import source_root
from oom_suite.records import Result, Verdict
from oom_suite.subjects.spec import BUILTIN_NAMES, SubjectKind, SubjectSpec, parse
from oom_suite.tracing.lane_spec import LaneSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.session import Runs
    from oom_suite.pipeline.settings import OnProgress, Settings

    Then = Callable[[Study, Runs], None]

KNOWN_BUGS = {"full_dequant": "reproduces #41962"}
"""Built-ins that are expected to fail, and what they are for."""


def _nothing_more(found: Study, runs: Runs) -> None:
    """A study that nobody wants to look at further."""


def check_all(
    subjects: Sequence[str],
    settings: Settings,
    on_progress: OnProgress = silent,
    on_result: Callable[[Result], None] = lambda _: None,
    then: Then = _nothing_more,
) -> list[Study]:
    """The studies of these subjects, in their order; several run at once, each in its children.

    Args:
        subjects: their spellings.
        settings: how they are checked.
        on_progress: told what each is doing.
        on_result: given each result, on the thread that found it.
        then: given each study whose law was found, while its program can still be run.

    Raises:
        UsageError: a spelling cannot be read. Nothing was run then.
    """
    specs = [parse(subject) for subject in subjects]

    def one(spec: SubjectSpec) -> Study:
        found = check(spec, settings, on_progress, then)
        on_result(found.result)
        return found

    with ThreadPoolExecutor(max_workers=max(1, min(len(specs), os.cpu_count() or 1))) as pool:
        return list(pool.map(one, specs))


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
        return _named(spec, Study(inconclusive(spec.text, settings, str(error))))
    with Session.of(settings, on_progress) as session:
        runs = session.open(program, spec.text, LaneSpec("measure", device=settings.device))
        found = study(runs, spec.text, settings)
        if found.derivation is not None:
            then(found, runs)
    return _named(spec, found)


def program_of(spec: SubjectSpec, settings: Settings, on_progress: OnProgress) -> SubjectProgram:
    """The subject on the settings' workload, its sources fetched where they are not here yet.

    Raises:
        FetchError: they cannot be had.
    """
    root = source_root(spec, on_progress)
    return SubjectProgram(spec.text, root, settings.workload.builder, settings.arch)


def _named(spec: SubjectSpec, found: Study) -> Study:
    """The study with what is known of a subject by its name."""
    result = found.result
    is_known = spec.kind is SubjectKind.BUILTIN and spec.text in KNOWN_BUGS
    notes = (KNOWN_BUGS[spec.text], *result.notes) if is_known and result.law else result.notes
    return replace(
        found,
        result=replace(
            result,
            expected=Verdict.FAIL if is_known else Verdict.PASS,
            notes=notes,
            next_command=_next_command(spec, result.verdict),
        ),
    )


def _next_command(spec: SubjectSpec, verdict: Verdict) -> str:
    if verdict is not Verdict.FAIL or spec.text in BUILTIN_NAMES:
        return ""
    if spec.kind is SubjectKind.VLLM_RELEASE:
        return f"oom-suite bisect --bad {spec.text}"
    return f"git bisect run oom-suite probe {spec.text}"


def exit_code(results: Sequence[Result]) -> int:
    """0 when all are as expected, 1 when a contract is broken, 3 when one is inconclusive."""
    if any(r.verdict is not Verdict.INCONCLUSIVE and not r.as_expected for r in results):
        return 1
    return 3 if any(r.verdict is Verdict.INCONCLUSIVE for r in results) else 0
