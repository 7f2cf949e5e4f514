"""What the operating system says of a process's resident memory: this one's, or another's."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import psutil

_PROC = Path("/proc")
_RESET_PEAK = "5"


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc's ``malloc_trim``)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak(pid: int | None = None) -> bool:
    """Make the kernel count the peak from now on; False where it cannot.

    Args:
        pid: of which process; this one by default.

    Source: ``Documentation/filesystems/proc.rst``: writing 5 to ``clear_refs`` resets VmHWM.
    `ru_maxrss` has no such reset, and survives exec.
    """
    try:
        (_folder(pid) / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def resident_bytes() -> int:
    """Bytes resident now."""
    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes(pid: int | None = None) -> int | None:
    """Largest resident size since the last reset (VmHWM); None where the system has none.

    Args:
        pid: of which process; this one by default.
    """
    try:
        lines = (_folder(pid) / "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def _folder(pid: int | None) -> Path:
    return _PROC / ("self" if pid is None else str(pid))
