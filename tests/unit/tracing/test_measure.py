"""The measure lane on the CPU: real tensors, and the process's own peak beside the trace."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.records import Reading
from oom_suite.targets import process_memory
from oom_suite.tracing.measure import Limits, MeasureLane
from oom_suite.tracing.measure import lane as lane_module

MIB = 2**20
NUM_BYTES = 192 * MIB


def resident_bytes(trace):
    (reading,) = trace.measurement.readings
    assert ("VmHWM", "process resident, peak above the call's start") == (
        reading.meter,
        reading.quantity,
    )
    return reading.num_bytes


def uncounted_bytes():
    """How far Linux's figure for a process may be off: each core counts some pages by itself.

    Source: Linux 6.2 and later, ``lib/percpu_counter.c``: ``percpu_counter_batch``.
    """
    num_cores = os.cpu_count() or 1
    return num_cores * max(32, 2 * num_cores) * os.sysconf("SC_PAGE_SIZE")


def touched(x):
    return torch.ones(NUM_BYTES // 4, device=x.device)


def test_the_process_s_peak_stands_beside_the_trace(measure):
    """The peak is the touched memory of the call, give or take what the process does besides."""
    trace = measure(touched, lambda device: (torch.zeros(4, device=device),))
    assert NUM_BYTES == trace.peak().num_bytes
    grown_bytes = resident_bytes(trace)
    assert NUM_BYTES <= grown_bytes + MIB + uncounted_bytes()
    assert grown_bytes < NUM_BYTES + 32 * MIB


def test_the_peak_is_counted_afresh_each_time(measure):
    """A large call before leaves nothing in the figure of a small one."""
    measure(touched, lambda device: (torch.zeros(4, device=device),))
    trace = measure(lambda x: x + 1, lambda device: (torch.zeros(4, device=device),))
    assert resident_bytes(trace) < 16 * MIB


def test_memory_that_is_not_touched_is_requested_and_not_resident(measure):
    """What the code asks for and what it uses are two figures."""
    trace = measure(lambda: torch.empty(NUM_BYTES, dtype=torch.uint8))
    assert NUM_BYTES == trace.peak().num_bytes
    assert resident_bytes(trace) < 16 * MIB


def test_a_system_without_the_reset_gives_no_figure(measure, monkeypatch):
    """A peak that was not reset is not shown; the reading says why."""
    monkeypatch.setattr(process_memory, "_PROC", Path("/nonexistent"))
    (reading,) = measure(lambda: torch.ones(4)).measurement.readings
    assert (None, "this system cannot count it from a moment on") == (
        reading.num_bytes,
        reading.why_not,
    )


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:99", "device 'cuda:99' was asked for, and torch .* sees (no GPU|. GPUs?) here"),
        ("gpu", "device 'gpu' is not one that torch .* knows: try cpu or cuda"),
        ("meta", "device 'meta' cannot be measured: choose cpu or cuda"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(device, message):
    """What was asked for, what there is."""
    with pytest.raises(LaneError, match=message) as caught:
        MeasureLane(Path("/"), device)
    assert "\n" not in str(caught.value)


class Meters:
    """What watches a call: notes when, and says two figures and one tenant."""

    def __init__(self):
        self.calls = []
        self.readings = (Reading("m", "a", 1), Reading("m", "b", 2))
        self.tenants = ("somebody",)

    @contextlib.contextmanager
    def __call__(self, device):
        self.calls.append(f"on {device}")
        yield self
        self.calls.append("off")


def measured(body, watch=None, limits=None):
    lane = MeasureLane(Path(__file__).parent, "cpu", watch, limits)
    return lane.run(lambda sizes, device: body, {"n": 3})


def test_meters_watch_the_measured_call_and_not_the_one_that_warms_up():
    """Their figures stand behind the lane's own, and the tenants are those they saw."""
    meters = Meters()
    trace = measured(lambda: meters.calls.append("call"), meters)
    assert ["call", "on cpu", "call", "off"] == meters.calls
    assert ["VmHWM", "m", "m"] == [one.meter for one in trace.measurement.readings]
    assert ("somebody",) == trace.measurement.tenants
    assert ("measure", {"n": 3}) == (trace.lane, dict(trace.sizes))
    assert trace.measurement.out_of_memory is None
    assert () == measured(lambda: None).measurement.tenants


def test_a_headroom_is_left_around_both_calls(monkeypatch):
    seen = []

    @contextlib.contextmanager
    def headroom(device, free_bytes, by):
        seen.append((device.type, free_bytes, by))
        yield

    monkeypatch.setattr(lane_module, "headroom", headroom)
    measured(lambda: None, limits=Limits(7, "limit"))
    measured(lambda: None)
    assert [("cpu", 7, "limit")] * 2 + [("cpu", None, "ballast")] * 2 == seen


def test_a_lack_of_memory_ends_the_trace_and_any_other_error_is_the_codes_own():
    def lacks():
        torch.ones(4)
        raise MemoryError("none left")

    trace = measured(lacks)
    assert ("none left", 16) == (
        trace.measurement.out_of_memory.message,
        trace.peak().num_bytes,
    )

    calls = []

    def breaks():
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measured(breaks)


@pytest.mark.parametrize(
    ("text", "num_gpus", "found"),
    [
        ("cpu", 0, "cpu"),
        ("cuda", 2, "cuda:1"),
        ("cuda:0", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
        ("cuda:1", 1, "sees 1 GPUs here"),
        ("cuda", 0, "sees no GPU here"),
    ],
)
def test_a_gpu_is_one_of_those_there_are(monkeypatch, text, num_gpus, found):
    """Without a number, the current one."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    if found.startswith("sees"):
        with pytest.raises(LaneError, match=found):
            lane_module._device(text)
    else:
        assert torch.device(found) == lane_module._device(text)
