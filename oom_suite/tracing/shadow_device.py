"""The device that fake lanes place tensors on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.targets.target import target as named

if TYPE_CHECKING:
    from oom_suite.targets.target import Target


def shadow_device(target: Target | None = None) -> torch.device:
    """The device that fake lanes place tensors on, the same with and without a GPU.

    It is one that the code under test knows: what asks whether its tensors are on ``cuda``, or
    asserts it, goes on as it does on a GPU. HIP's devices are ``cuda`` to torch as well.

    Args:
        target: what the run is for; None for the generic one.
    """
    target = target or named("generic")
    return torch.device("cpu") if target.backend == "cpu" else torch.device("cuda", 0)
