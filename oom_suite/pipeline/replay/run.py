"""Runs a replay: the room is looked at first, then each subject runs in a child of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.check import program_of
from oom_suite.pipeline.replay.cast import CULPRIT, STAND_IN, cast, predict, shortage
from oom_suite.pipeline.session import Session
from oom_suite.pipeline.settings import silent
from oom_suite.processes.child import ChildError, Outcome
from oom_suite.records.replay import Attempt, End, Replay, Role
from oom_suite.subjects import parse
from oom_suite.tracing.lane_spec import LaneSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.replay.cast import Cast
    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import OnProgress, Settings
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
    runs: Runs
    predicted: Prediction


def replay(
    plan: Plan,
    on_progress: OnProgress = silent,
    on_attempt: Callable[[Attempt], None] = lambda _: None,
) -> Replay:
    """What happened to each subject in the headroom. A subject never makes it raise.

    One runs after another, for they would share the device. However this ends, an interrupt
    included, no child lives on, and what a child held on the device ends with it.

    Raises:
        UsageError: a subject's spelling cannot be read. Nothing was run then.
    """
    players = cast(plan.subjects)
    with Session.of(plan.settings, on_progress) as session:
        return _story(session, players, plan, on_progress, on_attempt)


def _story(
    session: Session,
    named: Cast,
    plan: Plan,
    on_progress: OnProgress,
    on_attempt: Callable[[Attempt], None],
) -> Replay:
    players, notes = _with_sources(session, named, plan, on_progress)
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
    if plan.settings.device != "cpu":
        for one in ready:
            # They import torch side by side, and touch the device one after another.
            one.runs.begin_measuring()
    cannot = _room(session, plan, [one.predicted for one in ready])
    if cannot:
        return replace(story, cannot=cannot)
    attempts: list[Attempt] = []
    for player in players:
        attempts.append(_attempt(player, plan) if isinstance(player, _Ready) else player)
        on_attempt(attempts[-1])
    return replace(story, attempts=tuple(attempts))


def _with_sources(
    session: Session, players: Cast, plan: Plan, on_progress: OnProgress
) -> tuple[list[_Ready | Attempt], tuple[str, ...]]:
    """Those that can be run, with their predictions; the others as attempts that were not run."""
    found: list[_Ready | Attempt] = []
    notes: list[str] = []
    for spec, role in players:
        one = _ready(session, spec, role, plan, on_progress)
        if isinstance(one, Attempt) and not plan.subjects and spec.text == CULPRIT:
            notes.append(f"{CULPRIT} was replaced by {STAND_IN}: {one.reason}")
            one = _ready(session, parse(STAND_IN), role, plan, on_progress)
        elif isinstance(one, Attempt) and not plan.subjects and spec.version is not None:
            one = replace(one, end=End.LEFT_OUT)
        found.append(one)
    return found, tuple(notes)


def _ready(
    session: Session, spec: SubjectSpec, role: Role, plan: Plan, on_progress: OnProgress
) -> _Ready | Attempt:
    lane = LaneSpec(
        "measure",
        device=plan.settings.device,
        headroom_bytes=plan.headroom_bytes,
        headroom_by=plan.by,
        snapshot_folder=plan.snapshot_folder,
    )
    try:
        program = program_of(spec, plan.settings, on_progress)
        on_progress(spec.text, "predicting")
        runs = session.open(program, spec.text, lane)
        trace = runs.known(plan.settings.sizes)
    except OomSuiteError as error:
        return Attempt(spec.text, role, End.NOT_RUN, str(error))
    return _Ready(spec, role, runs, predict(trace, plan.headroom_bytes, plan.settings.device))


def _room(session: Session, plan: Plan, predictions: Sequence[Prediction]) -> str:
    """Why the device has no room for this, or cannot be asked; otherwise empty."""
    device = plan.settings.device
    if not predictions:
        return ""
    try:
        return shortage(session.free_memory(device), device, plan.headroom_bytes, predictions)
    except OomSuiteError as error:
        return f"device {device!r} cannot be used: {error}"


def _attempt(one: _Ready, plan: Plan) -> Attempt:
    waiting = Attempt(one.spec.text, one.role, End.NOT_RUN, predicted=one.predicted)
    try:
        (trace,) = one.runs.measured(plan.settings.sizes)
    except ChildError as error:
        is_elsewhere = error.outcome is Outcome.NOT_APPLICABLE
        end = End.LEFT_OUT if is_elsewhere else End.NOT_RUN
        reason = error.message if is_elsewhere else str(error)
        return replace(waiting, end=end, reason=reason)
    finally:
        one.runs.close()
    measurement = trace.measurement
    assert measurement is not None
    peaks = measurement.peaks
    peak_bytes = trace.peak().num_bytes if peaks is None else peaks.requested_bytes
    return replace(
        waiting,
        end=End.RAN if measurement.out_of_memory is None else End.OUT_OF_MEMORY,
        peak_bytes=peak_bytes,
        taken_bytes=peak_bytes if peaks is None else peaks.reserved_bytes,
        out_of_memory=measurement.out_of_memory,
        environment=measurement.environment,
    )
