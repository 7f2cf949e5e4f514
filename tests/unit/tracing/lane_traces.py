"""One call in a lane, for the tests beside this file."""

from __future__ import annotations

from pathlib import Path

from oom_suite.tracing.measure import MeasureLane
from oom_suite.tracing.shadow import ShadowLane

ROOT = Path(__file__).parent


def trace_in(lane, body, make=lambda device: ()):
    """The trace of ``body(*make(device))`` in the lane named ``shadow`` or ``measure``."""
    chosen = ShadowLane(ROOT) if lane == "shadow" else MeasureLane(ROOT, "cpu")

    def build(sizes, device):
        inputs = make(device)
        return lambda: body(*inputs)

    return chosen.run(build, {})
