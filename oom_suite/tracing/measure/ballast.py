"""Fills a device but for a headroom, with an eye on who else is on it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil
import torch

from oom_suite.errors import LaneError
from oom_suite.targets.free_memory import driver_free
from oom_suite.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


CONTEXT_BYTES = 3 * GIB
"""More than what a process holds beside its allocator: its context, code and workspaces."""

_PROCESS = re.compile(r"process\s+(\d+) uses")


def others(device: torch.device) -> str:
    """Who else holds memory there, in a clause; empty when nobody does.

    The driver's list of processes is believed where this process is in it. In a container it
    often shows other numbers, or nothing: then memory counts that this process cannot hold.
    The processes that started this one are not others.

    **Does not prove:** that nobody is there: where there is no list, less than `CONTEXT_BYTES`
    goes unnoticed.

    Source: torch 2.11 `torch/cuda/memory.py`, ``list_gpu_processes``.
    """
    pids = _listed(device)
    if os.getpid() in pids:
        family = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        return ", ".join(f"process {pid}" for pid in sorted(pids - family))
    free_bytes, total_bytes = driver_free(device)
    foreign_bytes = total_bytes - free_bytes - torch.cuda.memory_reserved(device)
    if foreign_bytes <= CONTEXT_BYTES:
        return ""
    return f"whoever holds {format_bytes(foreign_bytes)} there"


def _listed(device: torch.device) -> set[int]:
    try:
        text = torch.cuda.list_gpu_processes(device)
    except Exception:
        return set()
    return {int(pid) for pid in _PROCESS.findall(text)}


GRANULE_BYTES = 2 * MIB
"""What a driver hands out at once.

Source: CUDA Driver API, ``cuMemGetAllocationGranularity`` (2 MiB on every GPU since Volta).
"""
_ATTEMPTS = 16


class Driver(Protocol):
    """A GPU's memory, without an allocator in between."""

    def free_bytes(self) -> int:
        """What is free on the device now."""
        ...

    def take(self, num_bytes: int) -> int | None:
        """The address of so much memory; None where the driver has not so much."""
        ...

    def give_back(self, address: int) -> None:
        """Free what `take` gave."""
        ...


@contextlib.contextmanager
def held(device: torch.device, free_bytes: int) -> Iterator[int]:
    """Inside, no more than `free_bytes` and a granule are free on the device.

    Yields:
        what is free, by the driver's own account.

    Raises:
        LaneError: so much is not free, another process is on the device, or the library that
            torch runs on was not found.
    """
    with torch.cuda.device(device):
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        found = others(device)
        if found:
            msg = (
                f"ballast on {device} would take memory away from {found}: "
                "leave the headroom by a limit instead (--by limit)"
            )
            raise LaneError(msg)
        driver = Runtime(device)
        taken: list[int] = []
        try:
            yield fill(driver, free_bytes, taken)
        finally:
            # The call may have left another device current; this one's memory goes back here.
            with torch.cuda.device(device):
                for address in taken:
                    driver.give_back(address)


def fill(driver: Driver, free_bytes: int, taken: list[int]) -> int:
    """What is free once memory was taken until `free_bytes`, or a little more, are left.

    Args:
        driver: where it is taken.
        free_bytes: what must be left: never less.
        taken: the addresses, to be given back; they are added one by one, so that all of them
            are known whenever this is interrupted.

    Raises:
        LaneError: less than `free_bytes` is free to begin with.
    """
    left_bytes = driver.free_bytes()
    if left_bytes < free_bytes:
        msg = (
            f"a headroom of {format_bytes(free_bytes)} was asked for, and the device has "
            f"{format_bytes(left_bytes)} free: ask for less, or free some first"
        )
        raise LaneError(msg)
    # The driver may take more than it was asked for, for its own tables: then a little less.
    spared_bytes = 0
    for _ in range(_ATTEMPTS):
        wanted_bytes = (left_bytes - free_bytes - spared_bytes) // GRANULE_BYTES * GRANULE_BYTES
        if wanted_bytes <= 0:
            break
        address = driver.take(wanted_bytes)
        if address is None:
            spared_bytes += GRANULE_BYTES
            continue
        taken.append(address)
        left_bytes = driver.free_bytes()
        if left_bytes < free_bytes:
            missing_bytes = free_bytes - left_bytes
            driver.give_back(taken.pop())
            spared_bytes += -(-missing_bytes // GRANULE_BYTES) * GRANULE_BYTES
            left_bytes = driver.free_bytes()
    return left_bytes


class Runtime:
    """The driver through the runtime library that torch has loaded: plain device memory.

    Neither managed memory, which the driver could page out, nor torch's allocator, whose
    counters must not see it and whose ``empty_cache`` must not free it.

    Args:
        device: the GPU; its context is current when this is used.

    Raises:
        LaneError: no such library is loaded.

    Source: CUDA Runtime API and HIP API, memory management; ``hipMalloc`` has the signature
    of ``cudaMalloc``.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        prefix = "hip" if torch.version.hip else "cuda"
        library = ctypes.CDLL(str(_loaded("libamdhip64" if torch.version.hip else "libcudart")))
        self._malloc = getattr(library, f"{prefix}Malloc")
        self._malloc.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t]
        self._free = getattr(library, f"{prefix}Free")
        self._free.argtypes = [ctypes.c_void_p]
        self._last_error = getattr(library, f"{prefix}GetLastError")

    def free_bytes(self) -> int:
        """What ``mem_get_info`` says is free."""
        return driver_free(self._device)[0]

    def take(self, num_bytes: int) -> int | None:
        """The address of so much device memory; None where there is not so much."""
        pointer = ctypes.c_void_p()
        if self._malloc(ctypes.byref(pointer), num_bytes) != 0 or pointer.value is None:
            # The failure would otherwise be reported by the next kernel that torch launches.
            self._last_error()
            return None
        return pointer.value

    def give_back(self, address: int) -> None:
        """Free it; this waits for the device."""
        if self._free(ctypes.c_void_p(address)) != 0:
            self._last_error()


def _loaded(stem: str, maps: Path = Path("/proc/self/maps")) -> Path:
    """The file of a library that this process has loaded already.

    Raises:
        LaneError: none with that name is.
    """
    for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].rpartition("/")[2].startswith(stem):
            return Path(fields[5])
    msg = f"{stem} is not loaded, so no ballast can be taken: use --by limit"
    raise LaneError(msg)
