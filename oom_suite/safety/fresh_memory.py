"""Fills what the code under test allocates with poison, so that reading it unwritten shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.caches.poison import ZERO
from oom_suite.lanes.dispatch_mode import DispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from oom_suite.caches.poison import Poison
    from oom_suite.records import Frame

_aten = torch.ops.aten
_UNWRITTEN = frozenset(
    {
        _aten.empty,
        _aten.empty_like,
        _aten.empty_permuted,
        _aten.empty_strided,
        _aten.new_empty,
        _aten.new_empty_strided,
    }
)
"""What gives memory that nobody has written.

Source: PyTorch 2.13 ``aten/src/ATen/native/native_functions.yaml``; 2.11 has the same.
"""


class PoisonedMemory(DispatchMode):
    """Fills each new unwritten tensor with poison.

    Args:
        poison: what to fill with; the others get zeros, so that equal calls stay equal.
        stack: gives the line of the code under test that runs now.
        chosen: which allocations to fill, counted from 0; None for all.

    **Does not prove:** anything about memory that a kernel or a library takes inside itself.
    """

    def __init__(
        self,
        poison: Poison,
        stack: Callable[[], tuple[Frame, ...]],
        chosen: Collection[int] | None = None,
    ) -> None:
        """Nothing is filled before the mode is entered."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.poison = poison
        self._stack = stack
        self._chosen = chosen
        self.lines: list[Frame | None] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operator's result, filled where it came unwritten."""
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _UNWRITTEN:
            is_chosen = self._chosen is None or len(self.lines) in self._chosen
            _fill(result, self.poison if is_chosen else ZERO)
            self.lines.append(next(iter(self._stack()), None))
        return result


def poison_free_memory(device: torch.device, poison: Poison, num_bytes: int = 64 << 20) -> None:
    """Leave poison in memory that a GPU's allocator will hand out next; nothing on a CPU."""
    if device.type == "cuda":
        torch.empty(num_bytes, dtype=torch.uint8, device=device).fill_(poison.byte)
        torch.cuda.synchronize(device)


def _fill(tensor: torch.Tensor, poison: Poison) -> None:
    if not tensor.numel():
        return
    if tensor.is_floating_point() or tensor.dtype == torch.uint8:
        whole = tensor.untyped_storage()
        torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(whole).fill_(poison.byte)
    else:
        tensor.fill_(poison.integer)
