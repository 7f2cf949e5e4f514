"""Whether another process holds memory on a GPU."""

from __future__ import annotations

import os
import re

import psutil
import torch

from oom_suite.units import GIB, format_bytes

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
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    foreign_bytes = total_bytes - free_bytes - torch.cuda.memory_reserved(device)
    if foreign_bytes <= CONTEXT_BYTES:
        return ""
    return f"whoever holds {format_bytes(foreign_bytes)} there"


def _listed(device: torch.device) -> set[int]:
    try:
        text = torch.cuda.list_gpu_processes(device)
    except Exception:  # noqa: BLE001 - a missing or mismatched driver library raises anything
        return set()
    return {int(pid) for pid in _PROCESS.findall(text)}
