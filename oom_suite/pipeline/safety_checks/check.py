"""The safety check: a subject's detectors in a child process, one verdict for each property."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite import doors
from oom_suite.errors import OomSuiteError, unknown
from oom_suite.pipeline.safety_checks.client import finding_of
from oom_suite.pipeline.safety_checks.on_gpu import find_on_gpu
from oom_suite.pipeline.safety_checks.requests import SafetyJob
from oom_suite.pipeline.session import Limits, Session
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, silent
from oom_suite.processes.ending import threads
from oom_suite.records import Verdict
from oom_suite.records.safety import PROPERTIES, Finding, SafetyReport
from oom_suite.subjects import family_of, obtain, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.processes.askers import Respawning
    from oom_suite.records import SubjectSpec

IN_SHADOW = ("capture", "creep")
"""Properties whose detectors follow launches without running kernels."""


_CORES_A_SUBJECT_ON_GPU = 4


@dataclass(frozen=True, slots=True)
class SafetySettings:
    """How subjects are checked.

    Attributes:
        workload: the workload's name.
        device: ``"cpu"``, or ``"cuda"`` (HIP devices too).
        arch: the GPU architecture that the code under test sees.
        time_limit_s: seconds that one property may take.
        memory_limit_bytes: address space that the child may add; None for no limit.
    """

    workload: str = "decode"
    device: str = "cpu"
    arch: str = "generic"
    time_limit_s: float = DEFAULT_TIME_LIMIT_S
    memory_limit_bytes: int | None = None


DEFAULTS = SafetySettings()


def check_safety_all(
    subjects: Sequence[str],
    settings: SafetySettings = DEFAULTS,
    properties: Sequence[str] = PROPERTIES,
    on_progress: OnProgress = silent,
    on_report: Callable[[SafetyReport], None] = lambda _: None,
) -> list[SafetyReport]:
    """The reports on these subjects, in their order; several run at once.

    Raises:
        UsageError: a spelling or a property that cannot be read. Nothing was run then.
    """
    specs = [parse(subject) for subject in subjects]
    wanted = _in_order(properties)

    def one(spec: SubjectSpec) -> SafetyReport:
        report = check_safety(spec, settings, wanted, on_progress)
        on_report(report)
        return report

    num_cores = os.cpu_count() or 1
    # One subject on a GPU has several processes, which are slow to start.
    at_once = num_cores if settings.device == "cpu" else num_cores // _CORES_A_SUBJECT_ON_GPU
    with threads(min(len(specs), at_once)) as pool:
        return list(pool.map(one, specs))


def check_safety(
    spec: SubjectSpec,
    settings: SafetySettings = DEFAULTS,
    properties: Sequence[str] = PROPERTIES,
    on_progress: OnProgress = silent,
) -> SafetyReport:
    """The report on one subject. What goes wrong on the way is a finding, never an exception.

    Args:
        spec: the subject, from `oom_suite.subjects.parse`.
        settings: how it is checked.
        properties: names in `PROPERTIES`; all by default.
        on_progress: given what is being looked at.

    Returns:
        One finding for each property, in the order of `PROPERTIES`.

    Raises:
        UsageError: an unknown property.
    """
    wanted = _in_order(properties)
    known = family_of(spec).known_breaches(spec, doors.workload(settings.workload))
    try:
        root = obtain(spec)
    except OomSuiteError as error:
        findings = [Finding(name, Verdict.INCONCLUSIVE, str(error)) for name in wanted]
    else:
        job = SafetyJob(spec, root, settings.workload, settings.device, settings.arch)
        is_on_gpu = settings.device != "cpu"
        find = _find_on_gpu if is_on_gpu else _find_on_cpu
        findings = find(spec, job, settings, wanted, on_progress)
    named = "" if settings.workload == DEFAULTS.workload else settings.workload
    return SafetyReport(spec.text, settings.device, tuple(findings), known, named)


def _find_on_cpu(
    spec: SubjectSpec,
    job: SafetyJob,
    settings: SafetySettings,
    wanted: Sequence[str],
    on_progress: OnProgress,
) -> list[Finding]:
    """One property after another; what may not share a process has one of its own."""
    findings = []
    with _session(settings) as session:
        children: dict[SafetyJob | str, Respawning] = {}
        for name in wanted:
            on_progress(spec.text, f"looking at {name}")
            own, kind = _job_for(name, job, spec)
            if kind not in children:
                children[kind] = _child(session, own)
            findings.append(finding_of(children[kind], own, name))
    return findings


def _find_on_gpu(
    spec: SubjectSpec,
    job: SafetyJob,
    settings: SafetySettings,
    wanted: Sequence[str],
    on_progress: OnProgress,
) -> list[Finding]:
    """All properties at once, as processes are slow to start there."""
    from oom_suite.safety.indices import names_of_cases

    left = list(wanted)

    def on_finding(finding: Finding) -> None:
        left.remove(finding.name)
        rest = f", looking at {', '.join(left)}" if left else ""
        on_progress(spec.text, f"{finding.name} {finding.verdict.value}{rest}")

    on_progress(spec.text, f"looking at {', '.join(left)}")
    cases = names_of_cases(doors.workload(job.workload), job.arch)
    with _session(settings) as session:
        return find_on_gpu(job, wanted, lambda: _child(session, job), cases, on_finding)


def _in_order(properties: Sequence[str]) -> tuple[str, ...]:
    for name in properties:
        if name not in PROPERTIES:
            raise unknown("property", name, PROPERTIES)
    return tuple(name for name in PROPERTIES if name in properties)


def _job_for(name: str, job: SafetyJob, spec: SubjectSpec) -> tuple[SafetyJob, SafetyJob | str]:
    """What the child of a property is started for, and which properties share it: equal ones."""
    interprets = name not in IN_SHADOW and family_of(spec).may_launch_kernels(spec)
    own = replace(job, interprets=interprets)
    # What the code keeps in a global from a real run must not meet fake tensors.
    return own, "shadow" if name in IN_SHADOW else own


def _session(settings: SafetySettings) -> Session:
    return Session(Limits(settings.time_limit_s, settings.memory_limit_bytes))


def _child(session: Session, job: SafetyJob) -> Respawning:
    return session.child(
        imports=("oom_suite.pipeline.safety_checks.detectors",),
        # Interpreting is chosen before Triton is imported, and the server has imported it.
        needs_gpu=job.device != "cpu" or job.interprets,
    )


def exit_code(reports: Sequence[SafetyReport]) -> int:
    """0 when all are as expected, 1 when one is not, 3 when one is inconclusive."""
    open_ones = [
        one for report in reports for one in report.findings if one.verdict is Verdict.INCONCLUSIVE
    ]
    judged = [
        (one.verdict is Verdict.FAIL) is (one.name in report.expected)
        for report in reports
        for one in report.findings
        if one.verdict is not Verdict.INCONCLUSIVE
    ]
    if not all(judged):
        return 1
    return 3 if open_ones else 0
