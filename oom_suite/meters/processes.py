"""Who else is on the device: other processes, told apart from this one and the suite's own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os

import psutil

from oom_suite.meters.plausible import too_small
from oom_suite.records.measurement import Tenant


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


def strangers(
    holders: tuple[Tenant, ...], ours: frozenset[int], held_bytes: int
) -> tuple[tuple[Tenant, ...], str]:
    """The holders that are not ours, and why they may be too many or too few; empty if not.

    Where we hold memory and are not in the list, the driver numbers processes outside our pid
    namespace. Then one of the listed is us: whoever holds less than we do is not, and if one
    is left over, it is us. If several are, all of them are given, and the reason says so.

    Args:
        holders: every process that the driver lists.
        ours: pids of `family`.
        held_bytes: what torch's allocator holds on the device in this process.
    """
    others = tuple(one for one in holders if one.pid not in ours)
    if held_bytes == 0 or len(others) < len(holders):
        return _named(others), ""
    if not holders:
        return (), "its list of processes is empty though this one holds memory: it hides them"
    could_be_us = [one for one in others if _covers(one, held_bytes)]
    if len(could_be_us) == 1:
        return _named(tuple(one for one in others if one is not could_be_us[0])), ""
    return others, (
        f"it numbers processes outside this container: one of the {len(others)} is this process"
    )


def _covers(holder: Tenant, held_bytes: int) -> bool:
    return holder.num_bytes is None or not too_small(holder.num_bytes, held_bytes)


def _named(tenants: tuple[Tenant, ...]) -> tuple[Tenant, ...]:
    return tuple(Tenant(one.pid, one.num_bytes, one.name or name_of(one.pid)) for one in tenants)
