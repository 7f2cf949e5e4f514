"""``torch.tensor([...], pin_memory=True)`` on a machine that can pin no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import no_dispatch

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., torch.Tensor]


def pinning(make: Make) -> Make:
    """What stands in for ``torch.tensor`` where a device is believed in.

    Torch makes a literal where no mode looks, and asks the driver for pinned memory there. Here
    it is made in ordinary memory that is no request, and then copied as `Tensor.pin_memory` does.

    Args:
        make: torch's own, which is not asked to pin.
    """

    def tensor(data: object, *, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        return _pinned(make, data, **options) if pin_memory else make(data, **options)

    return tensor


def _pinned(
    make: Make, data: object, *, requires_grad: bool = False, device: Any = None, **options: Any
) -> torch.Tensor:
    if device is not None and torch.device(device).type != "cpu":
        # In torch's words.
        raise RuntimeError("Only dense CPU tensors can be pinned")
    with no_dispatch():
        literal = _outside_the_allocator(make(data, **options))
    pinned: torch.Tensor = torch.ops.aten.lift_fresh.default(literal).pin_memory()
    return pinned.requires_grad_(requires_grad)


def _outside_the_allocator(literal: torch.Tensor) -> torch.Tensor:
    """The same numbers in memory of Python's."""
    if not literal.numel():
        return literal
    numbers = bytearray(literal.view(-1).view(torch.uint8).numpy())
    return torch.frombuffer(numbers, dtype=literal.dtype).view(literal.shape)
