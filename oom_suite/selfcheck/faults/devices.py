"""Steps that take another path on a GPU: a lane that does not enter it sees nothing."""

from __future__ import annotations

import functools
from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.gather import decode_holding
from oom_suite.selfcheck.faults.record import LAW

_grows = functools.partial(mutant, LAW, along=())


def _byte_per_block_where(is_taken: bool, step: dict[str, Any]) -> None:
    """Decode, with a byte of state for each block where the path is taken."""
    pool = step["swa_k_cache"]
    num_bytes = pool.shape[0] if is_taken else 0
    decode_holding(step, torch.zeros(num_bytes, dtype=torch.uint8, device=pool.device))


@_grows("_byte_per_block_where")
def where_it_is_cuda(**step: Any) -> None:
    """A byte for each block where the pool says that it is on a GPU."""
    _byte_per_block_where(step["swa_k_cache"].is_cuda, step)


@_grows("_byte_per_block_where")
def where_the_device_is_cuda(**step: Any) -> None:
    """A byte for each block where the device's type is that of GPUs."""
    _byte_per_block_where(step["swa_k_cache"].device.type == "cuda", step)


@_grows("_byte_per_block_where")
def where_a_gpu_is_available(**step: Any) -> None:
    """A byte for each block where torch says that there is a GPU."""
    _byte_per_block_where(torch.cuda.is_available(), step)


@_grows("_byte_per_block_where")
def where_torch_is_built_for_hip(**step: Any) -> None:
    """A byte for each block where torch says that it was built for ROCm."""
    _byte_per_block_where(torch.version.hip is not None, step)


@_grows("_byte_per_block_where")
def where_the_capability_is_low(**step: Any) -> None:
    """A byte for each block where the device has no capability of NVIDIA's newest."""
    is_low = torch.cuda.is_available() and torch.cuda.get_device_capability() < (10, 0)
    _byte_per_block_where(is_low, step)


@_grows()
def on_a_device_written_out(**step: Any) -> None:
    """A byte for each block on a device that the code names itself."""
    pool = step["swa_k_cache"]
    device = "cpu" if pool.device.type == "cpu" else "cuda"
    decode_holding(step, torch.zeros(pool.shape[0], dtype=torch.uint8, device=device))


@twin(LAW, along=("num_tokens",))
def lean_where_it_is_cuda(**step: Any) -> None:
    """Holds nothing on a GPU, and a byte for each block elsewhere."""
    _byte_per_block_where(not step["swa_k_cache"].is_cuda and not torch.cuda.is_available(), step)


@twin(LAW, along=("num_tokens",))
def refuses_other_devices(**step: Any) -> None:
    """Refuses what is on neither a GPU nor, for its own tests, a CPU."""
    device = step["swa_k_cache"].device
    if device.type not in {"cuda", "cpu"}:
        raise RuntimeError(f"expected tensors on cuda, got {device}")
    decode_holding(step, torch.empty(0, device=device))
