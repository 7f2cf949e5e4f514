"""The safety check: a subject's detectors in a child process, one verdict for each property."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite.check import DEFAULT_TIME_LIMIT_S
from oom_suite.children import PRELOAD, source_root
from oom_suite.errors import OomSuiteError, unknown
from oom_suite.lanes.isolation import Child, ChildError
from oom_suite.lanes.isolation import Outcome as ChildOutcome
from oom_suite.lanes.respawn import Respawning
from oom_suite.records import Verdict
from oom_suite.records.safety import PROPERTIES, Finding, Hit, SafetyReport
from oom_suite.safety.index_outcomes import Outcome, judge, unknown_outcome
from oom_suite.subjects.spec import SubjectKind, SubjectSpec, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    OnProgress = Callable[[str, str], None]

KNOWN_BREACHES = {"block_compaction": ("capture",)}
"""Built-ins that are expected to break properties: `torch.unique` makes the host wait."""

IN_SHADOW = ("capture", "creep")
"""Properties whose detectors follow launches without running kernels."""


@dataclass(frozen=True, slots=True)
class SafetySettings:
    """How subjects are checked.

    Attributes:
        workload: ``"decode"`` or ``"decode-swa"``.
        device: ``"cpu"``, or ``"cuda"`` (HIP devices too).
        arch: the GPU architecture that the code under test is told it runs on.
        time_limit_s: seconds that one property may take.
        memory_limit_bytes: address space that the child may add; None for no limit.
    """

    workload: str = "decode"
    device: str = "cpu"
    arch: str = "generic"
    time_limit_s: float = DEFAULT_TIME_LIMIT_S
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SafetyJob:
    """One subject to be checked.

    Attributes:
        subject: the subject's spelling.
        root: where its source tree was put, for a release; None otherwise.
        workload: ``"decode"`` or ``"decode-swa"``.
        device: where real tensors lie.
        arch: the GPU architecture that the code under test is told it runs on.
        interprets: whether Triton kernels run in Triton's interpreter, on the CPU.
    """

    subject: str
    root: str | None
    workload: str
    device: str
    arch: str
    interprets: bool = False


DEFAULTS = SafetySettings()


def _silent(subject: str, message: str) -> None:
    """Progress for nobody."""


def check_safety_all(
    subjects: Sequence[str],
    settings: SafetySettings = DEFAULTS,
    properties: Sequence[str] = PROPERTIES,
    on_progress: OnProgress = _silent,
    on_report: Callable[[SafetyReport], None] = lambda _: None,
) -> list[SafetyReport]:
    """The reports on these subjects, in their order; on a CPU several run at once.

    Raises:
        UsageError: a spelling or a property that cannot be read. Nothing was run then.
    """
    specs = [parse(subject) for subject in subjects]
    wanted = _in_order(properties)

    def one(spec: SubjectSpec) -> SafetyReport:
        report = check_safety(spec, settings, wanted, on_progress)
        on_report(report)
        return report

    # Two children on one GPU would take each other's memory.
    num_workers = 1 if settings.device != "cpu" else min(len(specs), os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=max(1, num_workers)) as pool:
        return list(pool.map(one, specs))


def check_safety(
    spec: SubjectSpec,
    settings: SafetySettings = DEFAULTS,
    properties: Sequence[str] = PROPERTIES,
    on_progress: OnProgress = _silent,
) -> SafetyReport:
    """The report on one subject. What goes wrong on the way is a finding, never an exception.

    Args:
        spec: the subject, from `oom_suite.subjects.spec.parse`.
        settings: how it is checked.
        properties: names in `PROPERTIES`; all by default.
        on_progress: told what is being looked at.

    Returns:
        One finding for each property, in the order of `PROPERTIES`.

    Raises:
        UsageError: an unknown property.
    """
    wanted = _in_order(properties)
    known = KNOWN_BREACHES.get(spec.text, ()) if spec.kind is SubjectKind.BUILTIN else ()
    try:
        root = source_root(spec, on_progress)
    except OomSuiteError as error:
        findings = [Finding(name, Verdict.INCONCLUSIVE, str(error)) for name in wanted]
    else:
        job = SafetyJob(spec.text, root, settings.workload, settings.device, settings.arch)
        findings = []
        with ExitStack() as stack:
            children: dict[SafetyJob | str, Respawning] = {}

            def child_for(name: str) -> Respawning:
                own, kind = _job_for(name, job, spec)
                if kind not in children:
                    asker = Respawning(lambda: _start(own, settings))
                    children[kind] = stack.enter_context(asker)
                return children[kind]

            for name in wanted:
                if name == "indices" and settings.device != "cpu":
                    on_progress(spec.text, f"looking at {name}")
                    findings.append(_indices_on_gpu(job, settings))
                else:
                    findings.append(_find(child_for(name), spec, name, on_progress))
    return SafetyReport(spec.text, settings.device, tuple(findings), known)


def _in_order(properties: Sequence[str]) -> tuple[str, ...]:
    for name in properties:
        if name not in PROPERTIES:
            raise unknown("property", name, PROPERTIES)
    return tuple(name for name in PROPERTIES if name in properties)


def _job_for(name: str, job: SafetyJob, spec: SubjectSpec) -> tuple[SafetyJob, SafetyJob | str]:
    """What the child of a property is started for, and which properties share it: equal ones."""
    if job.device != "cpu":
        # A GPU's allocator may be left in the middle of a capture that was refused.
        return job, name if name in IN_SHADOW else job
    interprets = name not in IN_SHADOW and _has_kernels(spec)
    own = replace(job, interprets=interprets)
    # What the code keeps in a global from a real run must not meet fake tensors.
    return own, "shadow" if name in IN_SHADOW else own


def _has_kernels(spec: SubjectSpec) -> bool:
    """Whether the subject may launch Triton kernels, as far as can be told without loading it."""
    if spec.kind is SubjectKind.FILE:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return "triton" in Path(str(spec.path)).expanduser().read_text(encoding="utf-8")
        return False
    return spec.kind in {
        SubjectKind.VLLM_INSTALLED,
        SubjectKind.VLLM_RELEASE,
        SubjectKind.VLLM_TREE,
    }


def _start(job: SafetyJob, settings: SafetySettings) -> Child:
    return Child(
        "oom_suite.safety_child:make_handler",
        (job,),
        time_limit_s=settings.time_limit_s,
        memory_limit_bytes=settings.memory_limit_bytes,
        preload=(*PRELOAD, "oom_suite.safety_child"),
        # Interpreting is chosen before Triton is imported, and the server has imported it.
        needs_gpu=settings.device != "cpu" or job.interprets,
    )


def _find(child: Respawning, spec: SubjectSpec, name: str, on_progress: OnProgress) -> Finding:
    on_progress(spec.text, f"looking at {name}")
    try:
        finding: Finding = child.ask(name)
    except ChildError as error:
        return _of_death(name, error)
    return finding


def _indices_on_gpu(job: SafetyJob, settings: SafetySettings) -> Finding:
    """The finding on bad indices: what one of them does to a GPU must not reach the next."""
    from oom_suite.safety.index_cases import CASES  # noqa: PLC0415 - torch, only where there is one

    outcomes = []
    child: Child | None = None
    try:
        for case in CASES:
            child = child or _start(job, settings)
            try:
                outcome: Outcome = child.ask(f"indices/{case.name}")
            except ChildError as error:
                died = f"{error.outcome.value}: {error}"
                crashed = error.outcome is ChildOutcome.CRASHED
                outcome = (
                    Outcome(case.name, died, "wild-access", deadly=True)
                    if crashed
                    else replace(unknown_outcome(case.name, died), deadly=True)
                )
            outcomes.append(outcome)
            if outcome.deadly:
                child.close()
                child = None
    finally:
        if child is not None:
            child.close()
    return judge(outcomes, [case.name for case in CASES])


def _of_death(name: str, error: ChildError) -> Finding:
    """A crash in a step is an access to memory that is not there; all else proves nothing."""
    said = (
        str(error) if error.outcome is ChildOutcome.REFUSED else f"{error.outcome.value}: {error}"
    )
    if error.outcome is ChildOutcome.CRASHED and name in {
        "reads",
        "writes",
        "indices",
        "addresses",
    }:
        return Finding(name, Verdict.FAIL, said, (Hit("crash", said),))
    return Finding(name, Verdict.INCONCLUSIVE, said)


def exit_code(reports: Sequence[SafetyReport]) -> int:
    """0 when all are as expected, 1 when a property is broken or mended, 3 when one is open."""
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
