"""Meters: what the driver, the runtime and the operating system say, beside the allocator."""

from __future__ import annotations

from oom_suite.targets.meters.identity import identify
from oom_suite.targets.meters.protocol import Device, Meter, MeterError
from oom_suite.targets.meters.watch import Watch, openers

__all__ = ["Device", "Meter", "MeterError", "Watch", "identify", "openers"]
