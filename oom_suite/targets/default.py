"""The target where nobody names one: the device that is there, else the MI325X of the report."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError
from oom_suite.targets import machine
from oom_suite.targets.target import DEFAULT, TARGETS, targets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "OOM_SUITE_TARGET"
"""Names the targets of a machine or a repository, with commas, where no option does."""


def default_targets(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The targets where no option names any, each once.

    Those of `VARIABLE`; without it the device that is there, where a target describes it; and
    without one ``rocm:gfx942``.

    Raises:
        UsageError: the variable names no known target.
    """
    try:
        named = targets(environ.get(VARIABLE, ""))
    except UsageError as error:
        raise UsageError(f"{VARIABLE}: {error}") from None
    return named or (device_target() or DEFAULT,)


def default_target(environ: Mapping[str, str] = os.environ) -> str:
    """The first of `default_targets`.

    Raises:
        UsageError: as of `default_targets`.
    """
    return default_targets(environ)[0]


def device_target() -> str:
    """The target that the first GPU of this machine is; empty where there is none, or no such.

    Source: NVML API, ``nvmlDeviceGetCudaComputeCapability``; Linux
    ``drivers/gpu/drm/amd/amdkfd/kfd_topology.c``, ``gfx_target_version``: 90402 is gfx942.

    Does not prove: that the GPU works, or that a container lets this process open it.
    """
    found = machine.find_machine()
    if not found.num_gpus:
        return ""
    arch = _amd_arch(machine.ROOT) if found.runtime == "hip" else _nvidia_arch()
    return next((one.name for one in TARGETS if arch and one.arch == arch), "")


def _amd_arch(root: Path) -> str:
    for properties in sorted(root.glob(f"{machine.KFD_NODES}/*/properties")):
        try:
            text = properties.read_text(encoding="utf-8")
        except OSError:
            continue
        match = re.search(r"^gfx_target_version (\d+)$", text, re.MULTILINE)
        version = int(match[1]) if match else 0
        if version:
            return f"gfx{version // 10_000}{version // 100 % 100:x}{version % 100:x}"
    return ""


def _nvidia_arch() -> str:
    try:
        import pynvml
    except ImportError:
        return ""
    try:
        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ""
    return f"sm_{major}{minor}"
