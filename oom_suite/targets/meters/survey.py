"""What this machine can measure: torch, each GPU, each meter once, as JSON on the last line.

``python -m oom_suite.targets.meters.survey`` is a process of its own: importing torch can fail in
any way, by a signal too, and starting a GPU costs memory that the asker should not hold.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from importlib import util
from pathlib import Path
from typing import Any

from oom_suite.errors import LaneError
from oom_suite.processes.ending import live_by_environment
from oom_suite.targets.free_memory import driver_free
from oom_suite.targets.meters.mem_get_info import MemGetInfoMeter
from oom_suite.targets.meters.protocol import Device
from oom_suite.targets.meters.watch import Watch, openers
from oom_suite.units import MIB

ALLOCATOR_VARIABLES = (
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_HIP_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
)
WITHOUT_TORCH = "--without-torch"
_TRIED_BYTES = MIB


def survey(*, with_torch: bool = True) -> dict[str, Any]:
    """Everything as JSON values. What fails is text under ``error`` where its answer would be.

    Args:
        with_torch: whether to import torch; not where that has ended a process already.
    """
    torch, error = _imported("torch") if with_torch else (None, "torch was not imported")
    found: dict[str, Any] = {
        "torch": {"error": error} if torch is None else _torch(torch),
        "triton": _triton(),
        "allocator": {name: os.environ[name] for name in ALLOCATOR_VARIABLES if name in os.environ},
        "host": _watched("cpu", 0),
        "gpus": [],
    }
    num_gpus, gpus_error = _num_gpus(torch)
    found["torch"].setdefault("gpus_error", gpus_error)
    found["gpus"] = [_gpu(torch, index) for index in range(num_gpus)]
    if not num_gpus:
        found["absent"] = _absent(with_runtime=torch is not None)
    return found


def _imported(name: str) -> tuple[Any, str]:
    try:
        # Not by a statement: the name decides.
        return __import__(name), ""
    except (Exception, SystemExit) as error:
        return None, _clause(error)


def _clause(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _torch(torch: Any) -> dict[str, Any]:
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda or "",
        "hip": getattr(torch.version, "hip", None) or "",
    }


def _triton() -> dict[str, str]:
    if util.find_spec("triton") is None:
        return {"version": "", "error": ""}
    module, error = _imported("triton")
    return {"version": str(getattr(module, "__version__", "")), "error": error}


def _num_gpus(torch: Any) -> tuple[int, str]:
    if torch is None:
        return 0, ""
    try:
        return (torch.cuda.device_count() if torch.cuda.is_available() else 0), ""
    except Exception as error:
        return 0, _clause(error)


def _gpu(torch: Any, index: int) -> dict[str, Any]:
    """One GPU: what it is, whether it serves a request, and what each meter says of it."""
    found: dict[str, Any] = {"index": index, "name": "", "arch": "", "error": ""}
    try:
        properties = torch.cuda.get_device_properties(index)
        hip = getattr(torch.version, "hip", None)
        found["name"] = str(properties.name)
        found["arch"] = (
            str(properties.gcnArchName).split(":", maxsplit=1)[0]
            if hip
            else f"sm_{properties.major}{properties.minor}"
        )
        found["total_bytes"] = int(properties.total_memory)
        block = torch.empty(_TRIED_BYTES, dtype=torch.uint8, device=f"cuda:{index}")
        block.fill_(0)
        torch.cuda.synchronize(index)
        found["driver"] = _driver(bool(hip))
        found["free_bytes"] = _free_bytes(index)
    except Exception as error:
        found["error"] = _clause(error)
    watched = _watched("cuda", index)
    of_host = openers(Device("cpu", 0))
    of_gpu = [one for one in watched["readings"] if one["meter"] not in of_host]
    return {**found, **watched, "readings": of_gpu}


def _free_bytes(index: int) -> int | None:
    """What is free; None where a driver that serves requests does not say."""
    try:
        return driver_free(index)[0]
    except LaneError:
        return None


def _driver(is_hip: bool) -> str:
    """The driver's version; empty where it does not say."""
    try:
        if is_hip:
            return Path("/sys/module/amdgpu/version").read_text(encoding="ascii").strip()
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:
        return platform.release() if is_hip else ""


def _watched(kind: str, index: int) -> dict[str, Any]:
    with Watch(kind, index) as watch:
        pass
    return {
        "readings": [asdict(one) for one in watch.readings],
        "tenants": [asdict(one) for one in watch.tenants],
    }


def _absent(*, with_runtime: bool) -> list[dict[str, Any]]:
    """Every meter of a GPU, where torch has none: a driver may be there all the same.

    Args:
        with_runtime: whether the one that imports torch is among them.
    """
    readings: dict[str, dict[str, Any]] = {}
    left_out = {*openers(Device("cpu", 0)), *(() if with_runtime else (MemGetInfoMeter.name,))}
    for kind in ("cuda", "hip"):
        meters = {k: v for k, v in openers(Device(kind, 0)).items() if k not in left_out}
        with Watch(kind, 0, meters=meters) as watch:
            pass
        for one in watch.readings:
            readings.setdefault(f"{one.meter}/{one.quantity}", asdict(one))
    return list(readings.values())


def main() -> None:
    """Print the survey; nothing else that a library prints is on its line."""
    live_by_environment()
    body = json.dumps(survey(with_torch=WITHOUT_TORCH not in sys.argv[1:]))
    sys.stdout.write(f"\n{body}\n")


if __name__ == "__main__":
    main()
