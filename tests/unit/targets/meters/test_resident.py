"""Resident memory of a process, and a kernel that cannot reset its peak."""

from __future__ import annotations

import os

from oom_suite.targets import process_memory
from oom_suite.targets.meters.resident import ResidentMeter


def test_another_process_is_measured_by_its_pid():
    """By this one's pid, the figures are this one's."""
    meter = ResidentMeter(os.getpid())
    meter.begin()
    (now,) = meter.read()
    (peak,) = meter.peaks()
    assert peak.num_bytes * 2 > now.num_bytes > 0


def test_a_peak_that_was_not_reset_is_left_out(monkeypatch, tmp_path):
    """It may be of long before."""
    monkeypatch.setattr(process_memory, "_PROC", tmp_path)
    meter = ResidentMeter(None)
    meter.begin()
    (peak,) = meter.peaks()
    assert (None, "the system cannot reset VmHWM") == (peak.num_bytes, peak.why_not)
