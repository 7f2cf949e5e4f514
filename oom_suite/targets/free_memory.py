"""What a device has free now, for who must know it before anything runs there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from oom_suite.errors import LaneError
from oom_suite.processes.protocol import Request

if TYPE_CHECKING:
    import torch

    from oom_suite.processes.protocol import Kept

_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_MEMINFO = Path("/proc/meminfo")
_NEVER = "2"


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """What a device has free.

    Attributes:
        name: the device's own name; ``CPU`` for system memory.
        free_bytes: what can be used without taking it from anybody.
        total_bytes: what there is.
        reservable_bytes: what can be asked for and left untouched; None where the system sets
            no bound to the sum. On a GPU that is what is free.
    """

    name: str
    free_bytes: int
    total_bytes: int
    reservable_bytes: int | None


def free_memory(device: torch.device) -> FreeMemory:
    """What the device has free now. On a GPU this makes a context, which takes memory there.

    Source: ``mem_get_info``; ``/proc/meminfo``'s ``MemAvailable``; Linux
    ``Documentation/mm/overcommit-accounting.rst``.

    **Does not prove:** that it stays so, or that a container may use it: its own limit is not
    in it.
    """
    import torch

    if device.type == "cuda":
        free_bytes, total_bytes = driver_free(device)
        name = torch.cuda.get_device_properties(device).name
        return FreeMemory(name, free_bytes, total_bytes, free_bytes)
    memory = psutil.virtual_memory()
    return FreeMemory("CPU", int(memory.available), int(memory.total), _reservable_bytes())


def driver_free(device: torch.device | int) -> tuple[int, int]:
    """What is free on a GPU, and what there is, in bytes.

    Raises:
        LaneError: the driver does not say; HIP's raises "invalid argument" on some devices.
    """
    import torch

    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        first = (str(error).strip().splitlines() or ["no message"])[0]
        msg = f"the driver of {device} does not say what is free (mem_get_info: {first})"
        raise LaneError(msg) from error
    return int(free_bytes), int(total_bytes)


def _reservable_bytes() -> int | None:
    """What is not promised yet, where the system promises no more than it has."""
    try:
        mode = _OVERCOMMIT.read_text(encoding="ascii").strip()
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    if mode != _NEVER:
        return None
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    limit, committed = (int(fields[name][0]) * 1024 for name in ("CommitLimit", "Committed_AS"))
    return max(0, limit - committed)


@dataclass(frozen=True, slots=True)
class FreeMemoryOf(Request[FreeMemory]):
    """What a device has free now, asked in a process of its own."""

    device: str

    def answer(self, kept: Kept) -> FreeMemory:
        """The figures."""
        import torch

        return free_memory(torch.device(self.device))
