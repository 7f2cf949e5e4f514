"""Where a measurement is made: the device, its driver, torch, and the allocator's settings."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

from oom_suite.records import Environment

SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""The variables that hold the allocator's settings; the first that is set counts.

Source: PyTorch 2.13 ``c10/core/AllocatorConfig.cpp``, ``AcceleratorAllocatorConfig``.
"""
_AMD_DRIVER = Path("/sys/module/amdgpu/version")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_VERSION = re.compile(r"\b\d+\.\d+(\.\d+)?\b")
_BETWEEN = re.compile(r",(?![^\[]*\])")
"""Commas between settings, not those inside a setting's ``[256:1,512:2]``."""
_CPU_INFO = Path("/proc/cpuinfo")


def environment(device: torch.device) -> Environment:
    """What decides figures that are measured on this device, besides the code and its sizes."""
    if device.type == "cpu":
        return Environment(
            device_type="cpu",
            device=_processor(),
            arch=platform.machine(),
            driver="",
            runtime="",
            torch=torch.__version__,
            allocator="",
        )
    properties = torch.cuda.get_device_properties(device)
    is_hip = torch.version.hip is not None
    runtime = f"ROCm {torch.version.hip}" if is_hip else f"CUDA {torch.version.cuda}"
    return Environment(
        device_type="hip" if is_hip else "cuda",
        device=properties.name,
        arch=getattr(properties, "gcnArchName", "")
        if is_hip
        else f"sm_{properties.major}{properties.minor}",
        driver=_amd_driver() if is_hip else _nvidia_driver(),
        runtime=runtime,
        torch=torch.__version__,
        allocator=allocator_settings(),
    )


def allocator_settings() -> str:
    """The allocator's settings as text: sorted, without spaces; empty for its defaults."""
    text = next((os.environ[name] for name in SETTINGS if os.environ.get(name)), "")
    parts = _BETWEEN.split("".join(text.split()))
    return ",".join(sorted(part for part in parts if part))


def _processor() -> str:
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _amd_driver() -> str:
    """The amdgpu module's version; empty where the kernel's own driver runs, which has none."""
    try:
        return _AMD_DRIVER.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _nvidia_driver() -> str:
    """The driver's version as nvidia-smi shows it; empty where nobody says."""
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            version = pynvml.nvmlSystemGetDriverVersion()
        finally:
            pynvml.nvmlShutdown()
    except Exception:
        return _nvidia_module()
    return version.decode() if isinstance(version, bytes) else str(version)


def _nvidia_module() -> str:
    try:
        text = _NVIDIA_DRIVER.read_text(encoding="utf-8")
    except OSError:
        return ""
    found = _VERSION.search(text)
    return found[0] if found else ""
