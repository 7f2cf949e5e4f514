"""The history of the caching allocator, and the workspaces of libraries, on CUDA and HIP devices.

Source: PyTorch 2.11 and 2.13 ``torch/cuda/memory.py``; ROCm builds have the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Mapping

_HISTORY_OPTIONS = ("enabled", "context", "stacks", "max_entries", "clear_history")

NAMES = (
    Name("torch.cuda.memory:_record_memory_history", positional=0, keywords=_HISTORY_OPTIONS),
    Name("torch.cuda.memory:_snapshot", positional=0),
)
"""The names of torch behind this module, in any build."""

NAMES_OF_GPU_BUILDS = (Name("torch._C:_cuda_clearCublasWorkspaces", positional=0),)
"""Those that a build for the CPU alone does not have."""

_IS_GPU_BUILD = torch.version.cuda is not None or torch.version.hip is not None

with needed("the measure lane needs", (*NAMES, *(NAMES_OF_GPU_BUILDS if _IS_GPU_BUILD else ()))):
    from torch.cuda import memory


def start_history(max_entries: int) -> None:
    """Record what the allocator does from now on, with the Python stacks of requests."""
    memory._record_memory_history(
        enabled="all",
        context="alloc",
        stacks="python",
        max_entries=max_entries,
        clear_history=True,
    )


def stop_history() -> None:
    """Record no more, and forget what was recorded."""
    memory._record_memory_history(enabled=None)


def snapshot() -> Mapping[str, Any]:
    """What the allocator holds and, under ``device_traces``, what was recorded of each device."""
    found: Mapping[str, Any] = memory._snapshot()
    return found


def clear_workspaces() -> None:
    """Free what cuBLAS and cuBLASLt (hipBLAS, hipBLASLt) keep for streams.

    Source: PyTorch 2.13 ``aten/src/ATen/cuda/CublasHandlePool.cpp``, ``clearCublasWorkspaces``.
    """
    torch._C._cuda_clearCublasWorkspaces()
