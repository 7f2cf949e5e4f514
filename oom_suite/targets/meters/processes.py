"""Who else is on the device: other processes, distinguished from this one and the suite's own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from oom_suite.records.measurement import Tenant
from oom_suite.targets.meters.plausible import too_small

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMPUTE_DRIVERS = frozenset({"/dev/nvidia-uvm", "/dev/kfd"})


def family(pid: int) -> frozenset[int]:
    """The process, those it descends from and those it started; and the suite's own beside it.

    A child that the suite started for the code under test has sisters, kept for other
    subjects: they are no strangers, whatever they hold.
    """
    suite = multiprocessing.parent_process()
    ours = {pid}
    with contextlib.suppress(psutil.Error):
        me = psutil.Process(pid)
        ours.update(one.pid for one in (*me.parents(), *me.children(recursive=True)))
    if suite is not None and suite.pid is not None and pid == os.getpid():
        with contextlib.suppress(psutil.Error):
            ours.update(one.pid for one in psutil.Process(suite.pid).children(recursive=True))
    return frozenset(ours)


def name_of(pid: int) -> str:
    """The process's command; empty where it cannot be read."""
    try:
        return psutil.Process(pid).name()
    except (psutil.Error, ValueError):
        return ""


def num_with_context(pids: Iterable[int], proc: Path = Path("/proc")) -> int:
    """How many of the processes have a GPU's compute driver open, which a context needs.

    Asking NVML or amdsmi does not open it: the one who only asks is not counted.

    Args:
        pids: of this pid namespace.
        proc: where processes are; tests plant a tree there.
    """
    return sum(any(_opens_driver(file) for file in _files(proc / str(pid) / "fd")) for pid in pids)


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # gone, or not ours to see
        return []


def _opens_driver(file: Path) -> bool:
    try:
        return str(file.readlink()) in _COMPUTE_DRIVERS
    except OSError:
        return False


def strangers(
    holders: tuple[Tenant, ...], ours: frozenset[int], held_bytes: int, num_ours: int = 1
) -> tuple[tuple[Tenant, ...], str]:
    """The holders that are not ours, and why they may be too many or too few; empty if not.

    Where we hold memory and are not in the list, the driver numbers processes outside our pid
    namespace. Then as many of the listed are ours as have a context; if more are listed and
    we are alone, whoever holds less than we do is a stranger, and one that is left over is us.
    Where that does not decide, all of them are given, and the reason says so.

    Args:
        holders: every process that the driver lists.
        ours: pids of `family`.
        held_bytes: what torch's allocator holds on the device in this process.
        num_ours: how many of `ours` have a context, from `num_with_context`.
    """
    others = tuple(one for one in holders if one.pid not in ours)
    if held_bytes == 0 or len(others) < len(holders):
        return _named(others), ""
    if not holders:
        return (), "its list of processes is empty though this one holds memory: it hides them"
    num_ours = max(1, num_ours)
    outside = "it numbers processes outside this container"
    if len(others) <= num_ours:
        alone = num_ours == 1
        return (), "" if alone else f"{outside}, and lists no more than the suite's {num_ours}"
    could_be_us = [one for one in others if _covers(one, held_bytes)]
    if num_ours == 1 and len(could_be_us) == 1:
        # No names: here, their pids are other processes' or nobody's.
        return tuple(one for one in others if one is not could_be_us[0]), ""
    return others, f"{outside}: of the {len(others)} listed, {num_ours} belong to this suite"


def _covers(holder: Tenant, held_bytes: int) -> bool:
    return holder.num_bytes is None or not too_small(holder.num_bytes, held_bytes)


def _named(tenants: tuple[Tenant, ...]) -> tuple[Tenant, ...]:
    return tuple(Tenant(one.pid, one.num_bytes, one.name or name_of(one.pid)) for one in tenants)
