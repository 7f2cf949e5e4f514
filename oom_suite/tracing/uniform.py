"""Numbers that are drawn evenly from 0 to 1: unknown, but for what a comparison says of all.

``torch.rand([]) < layer_drop`` is false where nothing is dropped, whatever is drawn.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import storage_key

if TYPE_CHECKING:
    from collections.abc import Iterable

_DRAWING = frozenset({"aten::rand", "aten::rand_like"})
_AT_ONE = {"lt": True, "le": True, "ne": True, "gt": False, "ge": False, "eq": False}
"""What a comparison with 1 or more gives: 1 itself is never drawn."""
_BELOW_ZERO = {"lt": False, "le": False, "ne": True, "gt": True, "ge": True, "eq": False}
_AT_ZERO = {"lt": False, "ge": True}


class Uniform:
    """Knows which tensors hold nothing but what was drawn from 0 to 1; kept per storage.

    Source: PyTorch 2.13 ``torch.rand``: from 0 up to 1, which is left out.
    """

    def __init__(self) -> None:
        self._storages: dict[int, weakref.ref[Any]] = {}

    def follow(self, family: str, result: Any) -> None:
        """Learn what an operator that has just run says about its result."""
        if family in _DRAWING and isinstance(result, torch.Tensor):
            storage = result.untyped_storage()
            self._storages[storage_key(storage)] = weakref.ref(storage)

    def forget(self, written: Iterable[torch.Tensor]) -> None:
        """Anything may have been written to these tensors."""
        for tensor in written:
            if tensor.layout is torch.strided:
                self._storages.pop(storage_key(tensor.untyped_storage()), None)

    def compared(self, family: str, args: tuple[Any, ...]) -> bool | None:
        """What a comparison with a number gives everywhere; None where it depends on the draw."""
        name = family.removeprefix("aten::")
        if name not in _AT_ONE or len(args) != 2 or not self._holds(args[0]):
            return None
        limit = args[1]
        if not isinstance(limit, (int, float)):
            return None
        if limit >= 1:
            return _AT_ONE[name]
        if limit < 0:
            return _BELOW_ZERO[name]
        return _AT_ZERO.get(name) if limit == 0 else None

    def _holds(self, value: Any) -> bool:
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            return False
        storage = value.untyped_storage()
        found = self._storages.get(storage_key(storage))
        return found is not None and found() is storage
