"""One process's part of a device, from the list of processes that a driver gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.meters.plausible import why_not
from oom_suite.meters.protocol import THIS_PROCESS, MeterError
from oom_suite.records.measurement import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.records.measurement import Tenant


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
