"""The GPUs that a process's environment leaves it, as the driver reads the environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.targets import machine as machines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.targets.machine import Machine

CUDA = "CUDA_VISIBLE_DEVICES"
HIP = "HIP_VISIBLE_DEVICES"
ROCR = "ROCR_VISIBLE_DEVICES"
_UUIDS = ("GPU-", "MIG-")


@dataclass(frozen=True, slots=True)
class VisibleGpus:
    """The GPUs that a process would see, each as the variable would name it alone.

    Attributes:
        variable: the variable that narrows them: `CUDA_VISIBLE_DEVICES`, on a ROCm machine
            `HIP_VISIBLE_DEVICES`.
        entries: what to set it to for each: an index or a UUID.
        told_by: where the list is from: a variable, NVML or a path.
    """

    variable: str
    entries: tuple[str, ...]
    told_by: str

    def of(self, index: int) -> str:
        """The entry of process number `index`, counted round and round. `entries` is not empty."""
        return self.entries[index % len(self.entries)]


def visible_gpus(environ: Mapping[str, str], machine: Machine | None = None) -> VisibleGpus:
    """The GPUs that a process with these variables sees; none where it sees none.

    A variable is the caller's list: entry 0 of ``"2,3"`` is GPU 2, and is named 2. On a ROCm
    machine `ROCR_VISIBLE_DEVICES` is applied before, by the layer below: HIP counts in what it
    leaves, so it stays as it is.

    Source: CUDA C++ Programming Guide, `CUDA_VISIBLE_DEVICES` (an invalid entry ends the list);
    torch 2.13 `cuda/__init__.py`, `_parse_visible_devices`, for UUIDs and repeated entries; ROCm
    clr `rocclr/device/rocm/rocdevice.cpp`, `Device::init`: an empty `HIP_VISIBLE_DEVICES` hides
    nothing, `CUDA_VISIBLE_DEVICES` is read then.

    Does not prove: that a UUID is one of this machine's, or that a GPU can be used.
    """
    found = machine or machines.find_machine()
    is_hip = found.runtime == "hip" or (not found.runtime and HIP in environ)
    return _on_hip(environ, found) if is_hip else _on_cuda(environ, found)


def _on_cuda(environ: Mapping[str, str], machine: Machine) -> VisibleGpus:
    if CUDA not in environ:
        return VisibleGpus(CUDA, _all(machine.num_gpus), machine.told_by)
    entries = _listed(environ[CUDA], machine.num_gpus)
    # CUDA takes a list with an entry twice for an empty one.
    unique = entries if len(set(entries)) == len(entries) else ()
    return VisibleGpus(CUDA, tuple(unique), CUDA)


def _on_hip(environ: Mapping[str, str], machine: Machine) -> VisibleGpus:
    num_gpus, told_by = machine.num_gpus, machine.told_by
    if ROCR in environ:
        num_gpus, told_by = len(_listed(environ[ROCR], num_gpus)), ROCR
    name = next((name for name in (HIP, CUDA) if environ.get(name)), "")
    if not name:
        return VisibleGpus(HIP, _all(num_gpus), told_by)
    entries = _listed(environ[name], num_gpus)
    return VisibleGpus(HIP, tuple(dict.fromkeys(entries)), name)


def _all(num_gpus: int | None) -> tuple[str, ...]:
    return tuple(str(index) for index in range(num_gpus or 0))


def _listed(text: str, num_gpus: int | None) -> Sequence[str]:
    """The entries up to the first that names no GPU."""
    entries: list[str] = []
    for part in text.split(","):
        entry = part.strip()
        is_index = re.fullmatch(r"\d+", entry) is not None
        if is_index:
            entry = str(int(entry))
        if not is_index and not entry.startswith(_UUIDS):
            break
        if is_index and num_gpus is not None and int(entry) >= num_gpus:
            break
        entries.append(entry)
    return entries
