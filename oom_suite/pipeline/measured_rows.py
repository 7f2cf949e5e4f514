"""Measures many calls: one child on the device for each subject, one call on it at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from oom_suite.doors import workload as find_workload
from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.check import program_of
from oom_suite.pipeline.measuring import measure
from oom_suite.pipeline.session import Session
from oom_suite.processes.child import ChildError, Outcome
from oom_suite.processes.ending import threads
from oom_suite.records import MeasuredRow
from oom_suite.records.measured_row import EXPLAINED, UNEXPLAINED
from oom_suite.subjects import parse
from oom_suite.tracing.lane_spec import LaneSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oom_suite.pipeline.measuring import Measured
    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import OnProgress, Settings
    from oom_suite.records import SubjectSpec, Workload
    from oom_suite.workloads.sparse_mla.geometry.measured_grid import GridPoint


def measure_all(
    subjects: Sequence[str],
    points: Sequence[GridPoint],
    settings: Settings,
    on_progress: OnProgress,
    on_row: Callable[[MeasuredRow], None] = lambda _: None,
) -> list[MeasuredRow]:
    """The rows of every subject at every point, subject by subject.

    Predictions run side by side; the device has one call at a time.

    Raises:
        UsageError: a spelling cannot be read. Nothing was run then.
    """
    specs = [parse(subject) for subject in subjects]

    def one(spec: SubjectSpec) -> list[MeasuredRow]:
        found = []
        for row in _rows(spec, points, settings, on_progress):
            on_row(row)
            found.append(row)
        return found

    with threads(min(len(specs), os.cpu_count() or 1)) as pool:
        return [row for rows in pool.map(one, specs) for row in rows]


def _rows(
    spec: SubjectSpec,
    points: Sequence[GridPoint],
    settings: Settings,
    on_progress: OnProgress,
) -> Iterator[MeasuredRow]:
    """The rows of one subject: a child for each lane, whatever the workload of a point."""
    try:
        program = program_of(spec, settings, on_progress)
    except OomSuiteError as error:
        yield from (_empty(spec, point, Outcome.REFUSED.value, str(error)) for point in points)
        return
    lane = LaneSpec("measure", device=settings.device, target=settings.target)
    with (
        Session.of(settings) as session,
        session.open(program, spec.text, lane) as runs,
    ):
        for number, point in enumerate(points, start=1):
            on_progress(spec.text, f"{number} of {len(points)}: {point.name}")
            workload = find_workload(point.workload)
            yield _row(spec, point, runs.with_workload(workload), workload, settings)


def _row(
    spec: SubjectSpec, point: GridPoint, runs: Runs, workload: Workload, settings: Settings
) -> MeasuredRow:
    """The row of one point; whatever happens is its outcome."""
    try:
        measured = measure(runs, workload, point.sizes, settings)
    except ChildError as error:
        return _empty(spec, point, error.outcome.value, error.message)
    except OomSuiteError as error:
        return _empty(spec, point, Outcome.REFUSED.value, str(error))
    if measured.is_short_of_memory:
        return _empty(spec, point, Outcome.OUT_OF_MEMORY.value, _shortage(measured))
    measurement = measured.measurement
    assert measurement is not None
    return MeasuredRow(
        subject=spec.text,
        workload=point.workload,
        scenario=point.name,
        sizes=point.sizes,
        outcome=UNEXPLAINED if measured.problem else EXPLAINED,
        reason=measured.problem,
        reconciliation=measured.reconciliation,
        workspace_bytes=sum(w.num_bytes for w in measurement.workspaces if not w.in_call),
        num_runs=measured.num_runs,
        is_repeatable=measurement.is_repeatable,
        environment=measurement.environment,
    )


def _shortage(measured: Measured) -> str:
    failed = measured.measurement and measured.measurement.out_of_memory
    return failed.message if failed else measured.problem


def _empty(spec: SubjectSpec, point: GridPoint, outcome: str, reason: str) -> MeasuredRow:
    return MeasuredRow(spec.text, point.workload, point.name, point.sizes, outcome, reason)
