"""Measures many calls: one child on the device for each subject, one call on it at a time."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from oom_suite.doors import workload as find_workload
from oom_suite.errors import OomSuiteError
from oom_suite.pipeline.children import source_root, start_child
from oom_suite.pipeline.measured import others
from oom_suite.pipeline.reconcile import problem, reconcile, scratch_of
from oom_suite.processes.child import Child, ChildError
from oom_suite.processes.respawning import Respawning
from oom_suite.records import Ask, MeasuredRow, Trace
from oom_suite.records.measured_row import EXPLAINED, UNEXPLAINED
from oom_suite.subjects import parse
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.check import Settings
    from oom_suite.records import SubjectSpec
    from oom_suite.workloads.sparse_mla.geometry.measured_grid import GridPoint

    OnProgress = Callable[[str, str], None]

OUT_OF_MEMORY = "out of memory"


@dataclass
class _Subject:
    """One subject: its child on the device, and its shadow."""

    spec: SubjectSpec
    root: str | None
    settings: Settings
    num_runs: int
    scratch: str = ""

    def __post_init__(self) -> None:
        """Start nothing yet: whose scratch a shadow needs, the first measurement tells."""
        self.on_device = Respawning(lambda: self._child("measure"))
        self.in_shadow = Respawning(lambda: self._child("shadow"))

    def _child(self, lane: str) -> Child:
        scratch = self.scratch if lane == "shadow" else ""
        return start_child(self.spec, self.root, self.settings, lane, scratch)

    def row(self, point: GridPoint, turn: threading.Lock) -> MeasuredRow:
        """The row of one point; whatever happens is its outcome."""
        request = Ask(find_workload(point.workload).builder, dict(point.sizes))
        try:
            if self.settings.device == "cpu":
                lack = _lack(self.in_shadow.ask(request))
                if lack:
                    return self._empty(point, OUT_OF_MEMORY, lack)
            with turn:
                runs: list[Trace] = [self.on_device.ask(request) for _ in range(self.num_runs)]
            return self._compared(point, runs, request)
        except ChildError as error:
            return self._empty(point, error.outcome.value, str(error))
        except OomSuiteError as error:
            return self._empty(point, "refused", str(error))

    def _compared(self, point: GridPoint, runs: list[Trace], request: Ask) -> MeasuredRow:
        first = runs[0]
        measurement = first.measurement
        assert measurement is not None
        failed = measurement.out_of_memory
        if failed is not None:
            return self._empty(point, OUT_OF_MEMORY, failed.message)
        self.scratch = scratch_of(measurement.environment)
        predicted: Trace = self.in_shadow.ask(request)
        reconciled = reconcile(predicted, first, self.settings.unexplained_bytes)
        odd = others(runs)
        reason = problem(measurement, reconciled) or odd
        return MeasuredRow(
            subject=self.spec.text,
            workload=point.workload,
            scenario=point.name,
            sizes=point.sizes,
            outcome=UNEXPLAINED if reason else EXPLAINED,
            reason=reason,
            reconciliation=reconciled,
            workspace_bytes=sum(w.num_bytes for w in measurement.workspaces if not w.in_call),
            num_runs=len(runs),
            is_repeatable=not odd,
            environment=measurement.environment,
        )

    def _empty(self, point: GridPoint, outcome: str, reason: str) -> MeasuredRow:
        return MeasuredRow(self.spec.text, point.workload, point.name, point.sizes, outcome, reason)


def measure_all(
    subjects: Sequence[str],
    points: Sequence[GridPoint],
    settings: Settings,
    num_runs: int,
    on_progress: OnProgress,
) -> list[MeasuredRow]:
    """The rows of every subject at every point, subject by subject.

    Predictions run side by side; the device has one call at a time.

    Args:
        subjects: their spellings.
        points: the calls.
        settings: device, architecture, limits.
        num_runs: how often each call is measured.
        on_progress: told what each subject is doing.

    Raises:
        UsageError: a spelling cannot be read. Nothing was run then.
    """
    specs = [parse(subject) for subject in subjects]
    turn = threading.Lock()

    def one(spec: SubjectSpec) -> list[MeasuredRow]:
        return _rows(spec, points, settings, num_runs, on_progress, turn)

    with ThreadPoolExecutor(max_workers=max(1, min(len(specs), os.cpu_count() or 1))) as pool:
        return [row for rows in pool.map(one, specs) for row in rows]


def _rows(
    spec: SubjectSpec,
    points: Sequence[GridPoint],
    settings: Settings,
    num_runs: int,
    on_progress: OnProgress,
    turn: threading.Lock,
) -> list[MeasuredRow]:
    try:
        root = source_root(spec, on_progress)
    except OomSuiteError as error:
        return [
            MeasuredRow(spec.text, p.workload, p.name, p.sizes, "refused", str(error))
            for p in points
        ]

    rows = []
    subject = _Subject(spec, root, settings, num_runs)
    with subject.on_device, subject.in_shadow:
        for number, point in enumerate(points, start=1):
            on_progress(spec.text, f"{number} of {len(points)}: {point.name}")
            rows.append(subject.row(point, turn))
    return rows


def _lack(predicted: Trace) -> str:
    """Why a call does not fit this machine's memory; empty when it does."""
    needed_bytes = predicted.input_bytes + predicted.peak().num_bytes
    available_bytes = psutil.virtual_memory().available
    if needed_bytes < available_bytes:
        return ""
    needed, available = format_bytes(needed_bytes), format_bytes(available_bytes)
    return f"not started: it would take {needed}, and this machine has {available} available"
