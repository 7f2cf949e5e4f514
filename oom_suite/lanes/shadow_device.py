"""A device that has no memory: fake tensors live on it, and are not on the CPU."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    name = torch._C._get_privateuse1_backend_name()  # noqa: SLF001 - no public accessor
    if name == _UNNAMED:
        backend_registration._setup_privateuseone_for_python_backend(_NAME)  # noqa: SLF001
        name = _NAME
    return torch.device(name, 0)


class HostLiterals(TorchFunctionMode):
    """Lets ``torch.tensor([...], device=shadow)`` work: made on the CPU, then moved.

    That is what a real device does; a Python-only one has no kernel to make it in place.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],  # noqa: ARG002 - torch's signature
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Run the function, literals by way of the CPU."""
        kwargs = dict(kwargs or {})
        if func in {torch.tensor, torch.as_tensor, torch.asarray}:
            device = kwargs.pop("device", None)
            made = func(*args, **kwargs)
            return made if device is None else made.to(device)
        return func(*args, **kwargs)
