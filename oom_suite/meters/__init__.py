"""Meters: what the driver, the runtime and the operating system say, beside the allocator."""

from __future__ import annotations

from oom_suite.meters.identity import identify
from oom_suite.meters.protocol import Device, Meter, MeterError
from oom_suite.meters.watch import Watch, openers

__all__ = ["Device", "Meter", "MeterError", "Watch", "identify", "openers"]
