"""Runs a replay: the room is looked at first, then each subject runs in a child of its own."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.children import PRELOAD, source_root, start_child
from oom_suite.pipeline.replay.cast import CULPRIT, STAND_IN, cast, predict, shortage
from oom_suite.processes.child import Child, ChildError, Outcome
from oom_suite.records import Job, Trace
from oom_suite.records.replay import Attempt, End, Replay, Role
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.check import OnProgress, Settings
    from oom_suite.pipeline.replay.cast import Cast
    from oom_suite.records import SubjectSpec
    from oom_suite.records.replay import Prediction


@dataclass(frozen=True, slots=True)
class Plan:
    """What is replayed, and how.

    Attributes:
        settings: the scenario, its sizes, the workload and the device, as for a check.
        summary: what the scenario stands for.
        headroom_bytes: what each call has free.
        by: ``"ballast"`` or ``"limit"``; on a CPU either is a limit.
        subjects: the spellings; none for those of the incident.
        snapshot_folder: where the allocator's snapshot is kept; None to keep none.
    """

    settings: Settings
    summary: str
    headroom_bytes: int
    by: str = "ballast"
    subjects: tuple[str, ...] = ()
    snapshot_folder: str | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A subject whose sources are here, and what was predicted for it."""

    spec: SubjectSpec
    role: Role
    root: str | None
    predicted: Prediction


def _silent(subject: str, message: str) -> None:
    """Progress for nobody."""


def replay(
    plan: Plan,
    on_progress: OnProgress = _silent,
    on_attempt: Callable[[Attempt], None] = lambda _: None,
) -> Replay:
    """What happened to each subject in the headroom. A subject never makes it raise.

    One runs after another, for they would share the device. However this ends, an interrupt
    included, no child lives on, and what a child held on the device ends with it.

    Args:
        plan: what is replayed.
        on_progress: told what each subject is doing.
        on_attempt: given each attempt when it is over.

    Raises:
        UsageError: a subject's spelling cannot be read. Nothing was run then.
    """
    players, notes = _with_sources(cast(plan.subjects), plan, on_progress)
    ready = [one for one in players if isinstance(one, _Ready)]
    story = Replay(
        scenario=plan.settings.scenario,
        summary=plan.summary,
        sizes=plan.settings.sizes,
        device=plan.settings.device,
        headroom_bytes=plan.headroom_bytes,
        by="limit" if plan.settings.device == "cpu" else plan.by,
        notes=notes,
    )
    with ExitStack() as stack:
        started = _started(ready, plan, stack)
        cannot = _room(plan, [one.predicted for one in ready])
        if cannot:
            return replace(story, cannot=cannot)
        attempts: list[Attempt] = []
        for one in players:
            if isinstance(one, _Ready):
                attempts.append(_attempt(one, started.get(id(one)), plan, on_progress))
            else:
                attempts.append(one)
            on_attempt(attempts[-1])
    return replace(story, attempts=tuple(attempts))


def _started(ready: Sequence[_Ready], plan: Plan, stack: ExitStack) -> dict[int, Child]:
    """The children of a GPU's attempts, which import torch side by side.

    They touch the device when they are asked, one after another. One that cannot be started yet
    is started at its turn. On a CPU children are forked at once, and there is nothing to gain.
    """
    found: dict[int, Child] = {}
    if plan.settings.device != "cpu":
        for one in ready:
            with suppress(ChildError):
                found[id(one)] = stack.enter_context(_child(one, plan))
    return found


def _with_sources(
    players: Cast, plan: Plan, on_progress: OnProgress
) -> tuple[list[_Ready | Attempt], tuple[str, ...]]:
    """Those that can be run, with their predictions; the others as attempts that were not run."""
    found: list[_Ready | Attempt] = []
    notes: list[str] = []
    for spec, role in players:
        one = _ready(spec, role, plan, on_progress)
        if isinstance(one, Attempt) and not plan.subjects and spec.text == CULPRIT:
            notes.append(f"{CULPRIT} was replaced by {STAND_IN}: {one.reason}")
            one = _ready(parse(STAND_IN), role, plan, on_progress)
        elif isinstance(one, Attempt) and not plan.subjects and spec.version is not None:
            one = replace(one, end=End.LEFT_OUT)
        found.append(one)
    return found, tuple(notes)


def _ready(spec: SubjectSpec, role: Role, plan: Plan, on_progress: OnProgress) -> _Ready | Attempt:
    try:
        root = source_root(spec, on_progress)
        on_progress(spec.text, "predicting")
        with start_child(spec, root, plan.settings, "shadow") as child:
            trace = child.ask(dict(plan.settings.sizes))
    except OomSuiteError as error:
        return Attempt(spec.text, role, End.NOT_RUN, _reason(error))
    return _Ready(spec, role, root, predict(trace, plan.headroom_bytes))


def _reason(error: OomSuiteError) -> str:
    if isinstance(error, ChildError) and error.outcome not in {
        Outcome.REFUSED,
        Outcome.NOT_APPLICABLE,
    }:
        return f"{error.outcome.value}: {error}"
    return str(error)


def _room(plan: Plan, predictions: Sequence[Prediction]) -> str:
    """Why the device has no room for this, or cannot be asked; otherwise empty."""
    device = plan.settings.device
    if not predictions:
        return ""
    try:
        with Child(
            "oom_suite.targets.free_memory:make_handler",
            (device,),
            time_limit_s=plan.settings.time_limit_s,
            preload=PRELOAD,
            needs_gpu=device != "cpu",
        ) as child:
            return shortage(child.ask(None), device, plan.headroom_bytes, predictions)
    except OomSuiteError as error:
        return f"device {device!r} cannot be used: {_reason(error)}"


def _attempt(one: _Ready, started: Child | None, plan: Plan, on_progress: OnProgress) -> Attempt:
    on_progress(one.spec.text, f"running on {plan.settings.device}")
    waiting = Attempt(one.spec.text, one.role, End.NOT_RUN, predicted=one.predicted)
    try:
        with started or _child(one, plan) as child:
            trace = child.ask(dict(plan.settings.sizes))
    except OomSuiteError as error:
        is_elsewhere = isinstance(error, ChildError) and error.outcome is Outcome.NOT_APPLICABLE
        end = End.LEFT_OUT if is_elsewhere else End.NOT_RUN
        return replace(waiting, end=end, reason=_reason(error))
    if not isinstance(trace, Trace) or trace.measurement is None:
        return replace(waiting, reason="the measure lane gave no measurement")
    said = trace.measurement
    peaks = said.peaks
    peak_bytes = trace.peak().num_bytes if peaks is None else peaks.requested_bytes
    return replace(
        waiting,
        end=End.RAN if said.out_of_memory is None else End.OUT_OF_MEMORY,
        peak_bytes=peak_bytes,
        taken_bytes=peak_bytes if peaks is None else peaks.reserved_bytes,
        out_of_memory=said.out_of_memory,
        environment=said.environment,
    )


def _child(one: _Ready, plan: Plan) -> Child:
    settings = plan.settings
    job = Job(
        subject=one.spec.text,
        root=one.root,
        builder=settings.workload.builder,
        lane="measure",
        device=settings.device,
        arch=settings.arch,
        headroom_bytes=plan.headroom_bytes,
        headroom_by=plan.by,
        snapshot_folder=plan.snapshot_folder,
    )
    return Child(
        "oom_suite.pipeline.worker:make_handler",
        (job,),
        time_limit_s=settings.time_limit_s,
        preload=PRELOAD,
        needs_gpu=settings.device != "cpu",
    )
