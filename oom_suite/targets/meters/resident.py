"""Resident memory of this process and of the system's, as meters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import psutil

from oom_suite.records.measurement import Reading
from oom_suite.targets import process_memory
from oom_suite.targets.meters.plausible import why_not
from oom_suite.targets.meters.protocol import THIS_PROCESS, MeterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def this_process(
    meter: str, pid: int, holders: Callable[[], Iterable[Tenant]], total_bytes: int
) -> Reading:
    """What the process holds, in bytes, or why the driver does not say it.

    Args:
        meter: who asks.
        pid: the process.
        holders: lists every process on the device; may raise `MeterError`.
        total_bytes: the device's memory.
    """
    try:
        held = {one.pid: one.num_bytes for one in holders()}
    except MeterError as error:
        return Reading(meter, THIS_PROCESS, None, str(error))
    if pid not in held:
        reason = (
            f"the driver lists {len(held)} processes and not pid {pid}: none of its memory yet, "
            "or a container's pids"
        )
        return Reading(meter, THIS_PROCESS, None, reason)
    num_bytes = held[pid]
    if num_bytes is None:
        return Reading(meter, THIS_PROCESS, None, "the driver says N/A for a process")
    reason = why_not(num_bytes, total_bytes)
    return Reading(meter, THIS_PROCESS, None if reason else num_bytes, reason)
