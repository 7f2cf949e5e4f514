"""A device that has no memory: fake tensors live on it, and are not on the CPU."""

from __future__ import annotations

import functools

import torch

from oom_suite.torch_compat.private_device import name_private_device, private_device_type

_NAME = "shadow"


@functools.cache
def shadow_device() -> torch.device:
    """The device that fake lanes place tensors on, the same with and without a GPU.

    GPU-only code asserts that its tensors are not on the CPU, and a CPU-only torch cannot
    index fake ``cuda`` tensors: it lacks that device's guard. The private-use device takes a
    guard written in Python. Where a process has already given that device to a real backend,
    its name is used as it is.
    """
    if private_device_type() is None:
        name_private_device(_NAME)
    return torch.device(private_device_type() or _NAME, 0)
