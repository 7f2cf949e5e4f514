"""What workers do: they predict cases, or measure them, and write down each as soon as it is known.

A worker may be ended by a call. What it wrote until then is kept, with the case that it was at.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import OomSuiteError, line_of
from oom_suite.pipeline.conformance.units import cases_of, units_of
from oom_suite.processes.protocol import Request
from oom_suite.records.libraries import BY_DATA, LIBRARIES
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.tracing.lanes import RunningLane
from oom_suite.tracing.measure.environment import environment
from oom_suite.tracing.recorder import Recorder
from oom_suite.tracing.source_lines import lines_under_test, no_collections

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.pipeline.conformance.cases import Case, Unit
    from oom_suite.processes.protocol import Kept
    from oom_suite.records import Environment, Trace
    from oom_suite.tracing.lane import Build

_KEPT_BYTES = 8 << 30
"""What a GPU's allocator may keep between calls: workers share the device."""

_TURN_S = 30.0
"""Seconds after which a worker answers though there is more to do: only a case that hangs takes
as long as a request may."""

_BROKEN = ("CUDA error", "HIP error", "device-side assert")
"""How an error sounds after which a process cannot use its GPU any more."""


@dataclass(frozen=True, slots=True)
class Listing(Request["tuple[Environment, list[Unit]]"]):
    """What there is to run: the device in its own words, and the units."""

    suites: tuple[str, ...]
    device: str

    def answer(self, kept: Kept) -> tuple[Environment, list[Unit]]:
        """The device's environment and every unit."""
        device = _ready(kept, self.device)
        units = [unit for suite in self.suites for unit in units_of(suite, device.type)]
        return environment(device), units


@dataclass(frozen=True, slots=True)
class Predict(Request[bool]):
    """Predict every case of some units."""

    units: tuple[Unit, ...]
    lane: LaneSpec
    journal: str
    skipped: frozenset[str] = frozenset()

    def answer(self, kept: Kept) -> bool:
        """Whether all is done; what is found is in the journal."""
        lane = kept.get(self.lane, lambda: RunningLane(self.lane, Path.cwd()))
        return _write_all(self, lambda build: _predicted(lane.run(build, {})))


@dataclass(frozen=True, slots=True)
class Measure(Request[bool]):
    """Measure every case of some units."""

    units: tuple[Unit, ...]
    device: str
    journal: str
    skipped: frozenset[str] = frozenset()

    def answer(self, kept: Kept) -> bool:
        """Whether all is done; what is found is in the journal."""
        device = _ready(kept, self.device)
        return _write_all(self, lambda build: measured(build, device))


def _ready(kept: Kept, device: str) -> torch.device:
    """The device with its number, by which trackers know it; this process as any that measures.

    Raises:
        LaneError: there is no such device.
    """
    lane = LaneSpec("measure", device=device)
    kept.get(lane, lambda: RunningLane(lane, Path.cwd()))
    return torch.empty(0, device=device).device


def key_of(unit: Unit, case: str) -> str:
    """What tells a case from all others."""
    return f"{unit.suite}: {unit.name}: {case}"


def _write_all(asked: Predict | Measure, of: Callable[[Build], dict[str, Any]]) -> bool:
    until = time.monotonic() + _TURN_S
    with Path(asked.journal).open("a", encoding="utf-8", buffering=1) as journal:
        for unit in asked.units:
            for case in cases_of(unit):
                key = key_of(unit, case.name)
                if key in asked.skipped:
                    continue
                if time.monotonic() > until:
                    return False
                journal.write(json.dumps({"begun": key}) + "\n")
                row = _row(case, of)
                where = {"suite": unit.suite, "name": unit.name, "case": case.name}
                journal.write(json.dumps({"key": key, **where, **row}) + "\n")
                if any(words in row.get("error", "") for words in _BROKEN):
                    # Every further call would fail of the same: the next process goes on.
                    journal.flush()
                    os._exit(1)
    return True


def _row(case: Case, of: Callable[[Build], dict[str, Any]]) -> dict[str, Any]:
    try:
        return of(case.build)
    except OomSuiteError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": line_of(error)}


def _predicted(trace: Trace) -> dict[str, Any]:
    """The peak with and without what is taken at most, and whatever nothing bounds, by name."""
    sure = trace.without(lambda allocation: allocation.is_bound)
    unbounded = (each.op for each in trace.unseen if not each.is_bounded)
    named = dict.fromkeys((*unbounded, *trace.unrecorded))
    # What is seen in an operator's place is more than that takes: it bounds nothing from below.
    seen_as_more = [each.op for each in trace.unseen if each.is_bounded]
    bounds = [each for each in trace.allocations if each.is_bound]
    by_data = (*seen_as_more, *(each.inside or each.op for each in bounds))
    libraries = dict.fromkeys(each.op for each in bounds if each.op in LIBRARIES)
    return {
        "least_bytes": 0 if seen_as_more else sure.peak().num_bytes,
        "most_bytes": trace.peak().num_bytes,
        "named": list(named),
        "libraries": list(libraries),
        "is_library": not seen_as_more and all(each.op in LIBRARIES for each in bounds),
        "by_data": list(dict.fromkeys(op for op in by_data if op in BY_DATA)),
    }


def measured(build: Build, device: torch.device) -> dict[str, Any]:
    """The peak of requested bytes above the call's start, after a call that warmed up.

    A call with a model is run once more under torch's own tracker.

    Source: for a GPU, ``torch.cuda.memory_stats``; for a CPU, the recorder of the measure lane.
    """
    found = _on_cpu(build, device) if device.type == "cpu" else _on_gpu(build, device)
    call = build({}, device)
    model = getattr(call, "model", None)
    if model is None:
        return found
    from oom_suite.torch_compat.mem_tracker import tracked_peak_bytes

    try:
        found["tracked_bytes"] = tracked_peak_bytes(call, model, device)
    except Exception as error:
        # It is torch's own, and its failure says nothing about the prediction.
        found["tracker_error"] = f"{type(error).__name__}: {error}"
    return found


def _on_cpu(build: Build, device: torch.device) -> dict[str, Any]:
    build({}, device)()
    recorder = Recorder(device.type, lines_under_test(Path.cwd()))
    with recorder:
        call = build({}, device)
    with recorder:
        recorder.record(call)
    peak_bytes = recorder.trace("measure", {}).peak().num_bytes
    return {"measured_bytes": peak_bytes, "allocated_bytes": peak_bytes}


def _on_gpu(build: Build, device: torch.device) -> dict[str, Any]:
    build({}, device)()
    call = build({}, device)
    torch.cuda.synchronize(device)
    if torch.cuda.memory_reserved(device) > _KEPT_BYTES:
        torch.cuda.empty_cache()
    with no_collections():
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        after = torch.cuda.memory_stats(device)
    return {
        f"{name}_bytes": after[f"{kind}_bytes.all.peak"] - before[f"{kind}_bytes.all.current"]
        for name, kind in (("measured", "requested"), ("allocated", "allocated"))
    }
