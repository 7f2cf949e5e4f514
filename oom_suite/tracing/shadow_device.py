"""A device that has no memory: fake tensors live on it, and are not on the CPU."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import torch
from torch.utils import backend_registration

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "shadow"
_UNNAMED = "privateuseone"


@functools.cache
def shadow_device() -> torch.device:
    """The device that fake lanes place tensors on, the same with and without a GPU.

    GPU-only code asserts that its tensors are not on the CPU, and a CPU-only torch cannot
    index fake ``cuda`` tensors: it lacks that device's guard. The private-use device takes a
    guard written in Python. Where a process has already given that device to a real backend,
    its name is used as it is.
    """
    name = torch._C._get_privateuse1_backend_name()
    if name == _UNNAMED:
        backend_registration._setup_privateuseone_for_python_backend(_NAME)
        name = _NAME
    return torch.device(name, 0)


@contextlib.contextmanager
def literals_through_the_host() -> Iterator[None]:
    """Lets ``torch.tensor([...], device=shadow)`` work: made on the CPU, then moved by dispatch.

    torch would otherwise move it where no mode looks, and a Python-only device has no kernel for
    that. It does the same for its own fake tensors where a machine has no accelerator.
    """
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
