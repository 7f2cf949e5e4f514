"""The device type that torch keeps for backends outside its tree."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = (
    Name("torch._C:_get_privateuse1_backend_name", positional=0),
    Name("torch._C:_only_lift_cpu_tensors", positional=0),
    Name("torch._C:_set_only_lift_cpu_tensors", positional=1),
    Name("torch.utils.backend_registration:_setup_privateuseone_for_python_backend", positional=1),
)
"""The names of torch behind this module."""

with needed("the shadow and prove lanes need", NAMES):
    from torch.utils import backend_registration

_UNNAMED = "privateuseone"


def private_device_type() -> str | None:
    """The name that this process has given the private device type; None where it has not."""
    name = torch._C._get_privateuse1_backend_name()
    return None if name == _UNNAMED else name


def name_private_device(name: str) -> None:
    """Give the private device type a name and a guard written in Python, once in a process."""
    backend_registration._setup_privateuseone_for_python_backend(name)


@contextlib.contextmanager
def literals_made_on_host() -> Iterator[None]:
    """While active, ``torch.tensor([...], device=...)`` is made on the CPU, then moved by dispatch.

    torch would otherwise move it where no mode looks. It does the same for its own fake tensors
    where a machine has no accelerator.
    """
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
