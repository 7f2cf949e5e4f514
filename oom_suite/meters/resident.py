"""What the operating system says is resident of a process: now, and at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import psutil

from oom_suite import process_memory
from oom_suite.records.measurement import Reading

if TYPE_CHECKING:
    from oom_suite.records.measurement import Tenant

RESIDENT = "resident"
RESIDENT_PEAK = "resident, peak"


class ResidentMeter:
    """Host memory of one process: RSS through psutil, and the kernel's own peak (VmHWM).

    The kernel keeps one peak for all who ask: where somebody else resets it while the watch is
    on, the peak is counted from there.

    Does not prove: that the peak is the call's alone; other threads, the C library's slack and
    the driver's pinned memory are in it. Shared pages count in every process that maps them.
    """

    name: ClassVar[str] = "psutil"
    is_sampled: ClassVar[bool] = False
    steady: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, pid: int | None) -> None:
        """Watch the process `pid`; this one when None."""
        self._pid = pid
        self._was_reset = False

    def begin(self) -> None:
        """Make the kernel count from now on."""
        self._was_reset = process_memory.reset_peak(self._pid)

    def read(self) -> tuple[Reading, ...]:
        """What is resident now, in bytes."""
        return (Reading(self.name, RESIDENT, int(psutil.Process(self._pid).memory_info().rss)),)

    def peaks(self) -> tuple[Reading, ...]:
        """The largest resident size since `begin`, in bytes."""
        if not self._was_reset:
            return (Reading(self.name, RESIDENT_PEAK, None, "the system cannot reset VmHWM"),)
        peak = process_memory.peak_resident_bytes(self._pid)
        reason = "" if peak is not None else "the system has no VmHWM"
        return (Reading(self.name, RESIDENT_PEAK, peak, reason),)

    def holders(self) -> tuple[Tenant, ...] | None:
        """None: host memory has no tenants to tell."""
        return None

    def close(self) -> None:
        """Nothing is held open."""
