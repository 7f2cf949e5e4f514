"""What the operating system says of this process's resident memory."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc's ``malloc_trim``)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> bool:
    """Make the kernel count the peak from now on; False where it cannot.

    Source: ``Documentation/filesystems/proc.rst``: writing 5 to ``clear_refs`` resets VmHWM.
    `ru_maxrss` has no such reset, and survives exec.
    """
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def resident_bytes() -> int:
    """Bytes resident now."""
    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int | None:
    """Largest resident size since the last reset (VmHWM); None where the system has none."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
