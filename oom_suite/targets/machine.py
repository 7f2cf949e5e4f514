"""What GPUs a machine has, read from its own files and from NVML: torch is not imported."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
"""The machine's file tree."""

_NVIDIA_GPUS = "proc/driver/nvidia/gpus"
_NVIDIA_NODES = "dev/nvidia[0-9]*"
KFD_NODES = "sys/class/kfd/kfd/topology/nodes"
"""Where AMD's compute driver lists what it found."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The GPUs of a machine, whatever a process of it may see.

    Attributes:
        runtime: ``"cuda"`` or ``"hip"``, the one that torch was built for, else the one whose
            GPUs are there; empty where neither is.
        num_gpus: their number; None where nothing on this machine tells it.
        told_by: who told the number, for example ``NVML``; empty where nobody did.
    """

    runtime: str
    num_gpus: int | None
    told_by: str = ""


def find_machine() -> Machine:
    """The machine's GPUs.

    NVML and the files of the two drivers are asked. Neither makes a context on a device, nor
    does it keep `CUDA_VISIBLE_DEVICES` from being read later.

    Source: NVML API, `nvmlDeviceGetCount`; Linux `drivers/gpu/drm/amd/amdkfd/kfd_topology.c`,
    whose nodes are CPUs too: those have a `simd_count` of 0.

    Does not prove: that a GPU works, or that a container lets this process open it.
    """
    build = torch_build()
    if build != "hip" and (found := _nvidia()) is not None:
        return found
    if build != "cuda" and (num_gpus := kfd_gpus(ROOT)):
        return Machine("hip", num_gpus, f"/{KFD_NODES}")
    return Machine(build, None)


def torch_build() -> str:
    """The runtime that the installed torch was built for; empty for a CPU build or no torch.

    Read from the text of its `version.py`, for importing torch takes seconds.
    """
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return ""
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        try:
            text = (Path(folder) / "version.py").read_text(encoding="utf-8")
        except OSError:
            continue
        for runtime in ("hip", "cuda"):
            if re.search(rf"^{runtime}\b[^=\n]*=\s*['\"]", text, re.MULTILINE):
                return runtime
    return ""


def _nvidia() -> Machine | None:
    # A container has the nodes of its own GPUs, and may see the host's folders.
    for told_by, num_gpus in (
        ("NVML", nvml_gpus()),
        ("/dev", sum(1 for _ in ROOT.glob(_NVIDIA_NODES))),
        (f"/{_NVIDIA_GPUS}", _num_entries(ROOT / _NVIDIA_GPUS)),
    ):
        if num_gpus:
            return Machine("cuda", num_gpus, told_by)
    return None


def nvml_gpus() -> int | None:
    """The number of NVIDIA GPUs; None without NVML's bindings, library or driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _num_entries(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0


def kfd_gpus(root: Path) -> int:
    """The number of AMD GPUs that the compute driver lists under `root`; 0 without it.

    A container may list a node without letting it be read: that GPU is not this process's.
    """
    num_gpus = 0
    for properties in (root / KFD_NODES).glob("*/properties"):
        try:
            text = properties.read_text(encoding="utf-8")
        except OSError:
            continue
        match = re.search(r"^simd_count (\d+)$", text, re.MULTILINE)
        num_gpus += match is not None and int(match[1]) > 0
    return num_gpus
