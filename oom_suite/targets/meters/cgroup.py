"""What the kernel counts for the control group that a process is in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from oom_suite.records.measurement import Reading
from oom_suite.targets.meters.protocol import MeterError

if TYPE_CHECKING:
    from oom_suite.records.measurement import Tenant

GROUP = "group"
GROUP_PEAK = "group, peak"
GROUP_PEAK_EVER = "group, peak since the group began"
LIMIT = "group limit"
_CONTROLLER = "memory"


def memory_folder(pid: int | None = None, root: Path = Path("/")) -> Path:
    """The folder of the process's own cgroup v2, where that has the memory controller.

    Args:
        pid: of which process; this one when None.
        root: where ``/proc`` and ``/sys`` are; tests plant a tree there.

    Raises:
        MeterError: there is none, or memory is counted by cgroup v1, which is not read.

    Source: ``Documentation/admin-guide/cgroup-v2.rst`` ("Processes", "Namespace") and
    ``proc(5)``, ``/proc/PID/mountinfo``.
    """
    proc = root / "proc" / ("self" if pid is None else str(pid))
    try:
        groups = (proc / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (proc / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        msg = f"the process's control group cannot be read ({error.strerror})"
        raise MeterError(msg) from error
    by_v1 = any(_CONTROLLER in line.split(":")[1].split(",") for line in groups if line)
    if by_v1:
        msg = "memory is counted by cgroup v1 here, which is not read"
        raise MeterError(msg)
    own = next((line[3:] for line in groups if line.startswith("0::")), None)
    if own is None:
        msg = "the process is in no cgroup v2"
        raise MeterError(msg)
    for line in mounts:
        left, _, right = line.partition(" - ")
        if right.split(" ")[0] == "cgroup2":
            inside, where = left.split(" ")[3:5]
            return _existing(root, where, inside, own)
    msg = "no cgroup v2 is mounted here"
    raise MeterError(msg)


def _existing(root: Path, where: str, inside: str, own: str) -> Path:
    # A container often mounts its own group as the root, so the path starts below that.
    below = own.removeprefix(inside) if inside != "/" else own
    folder = root / where.lstrip("/") / below.lstrip("/")
    if not (folder / "memory.current").exists():
        msg = f"the group {own} has no memory.current (the root group, or the controller is off)"
        raise MeterError(msg)
    return folder


class CgroupMeter:
    """Host memory of a whole control group: a container, a service, a job.

    Does not prove: that the bytes are this process's; the page cache and every other process
    of the group are in them.
    """

    name: ClassVar[str] = "cgroup"
    is_sampled: ClassVar[bool] = True
    steady: ClassVar[frozenset[str]] = frozenset({LIMIT})

    def __init__(self, pid: int | None, root: Path = Path("/")) -> None:
        """Find the group of `pid`; this process's when None.

        Raises:
            MeterError: it cannot be found, or is not v2.
        """
        self._folder = memory_folder(pid, root)
        self._peak: int | None = None

    def begin(self) -> None:
        """Count the peak from now on, where the kernel can.

        Source: ``cgroup-v2.rst``, ``memory.peak``: since Linux 6.12 a write resets the peak
        for later reads of the same file descriptor.
        """
        try:
            descriptor = os.open(self._folder / "memory.peak", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return
        try:
            os.write(descriptor, b"reset\n")
        except OSError:
            os.close(descriptor)
            return
        self._peak = descriptor

    def read(self) -> tuple[Reading, ...]:
        """What the group holds now, and its limit, in bytes."""
        now = int((self._folder / "memory.current").read_text(encoding="ascii"))
        return Reading(self.name, GROUP, now), self._limit()

    def peaks(self) -> tuple[Reading, ...]:
        """The largest the group held: since `begin`, or since it began where that cannot be."""
        if self._peak is not None:
            text = os.pread(self._peak, 64, 0).decode("ascii")
            return (Reading(self.name, GROUP_PEAK, int(text)),)
        try:
            text = (self._folder / "memory.peak").read_text(encoding="ascii")
        except OSError:
            why = "the kernel has no memory.peak (Linux 5.19 brought it)"
            return (Reading(self.name, GROUP_PEAK, None, why),)
        return (
            Reading(self.name, GROUP_PEAK, None, "memory.peak cannot be reset before Linux 6.12"),
            Reading(self.name, GROUP_PEAK_EVER, int(text)),
        )

    def _limit(self) -> Reading:
        try:
            text = (self._folder / "memory.max").read_text(encoding="ascii").strip()
        except OSError:
            return Reading(self.name, LIMIT, None, "the group has no memory.max")
        if text == "max":
            return Reading(self.name, LIMIT, None, "none is set")
        return Reading(self.name, LIMIT, int(text))

    def holders(self) -> tuple[Tenant, ...] | None:
        """None: host memory has no tenants to tell."""
        return None

    def close(self) -> None:
        """Close the counter of the peak."""
        if self._peak is not None:
            os.close(self._peak)
            self._peak = None
