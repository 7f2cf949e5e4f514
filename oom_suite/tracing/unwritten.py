"""The tensors that a call is to write to, until it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.operands import tensors
from oom_suite.torch_compat.dispatch import storage_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Unwritten:
    """The outputs of a call that nothing was written to yet, through no view and by no kernel.

    A call that leaves its output as it was has not done its work: what it took says nothing.

    Args:
        call: its attribute ``writes``, if it has one, has the outputs by name.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        writes: Mapping[str, Any] = getattr(call, "writes", {})
        self._names = {
            storage_key(tensor.untyped_storage()): name
            for name, value in writes.items()
            for tensor in tensors(value)
            if tensor.layout is torch.strided
        }

    def __bool__(self) -> bool:
        return bool(self._names)

    def wrote(self, written: Iterable[torch.Tensor]) -> None:
        """Something was written to these tensors, or may have been."""
        for tensor in written:
            if tensor.layout is torch.strided:
                self._names.pop(storage_key(tensor.untyped_storage()), None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is to be said of them, a clause each."""
        return tuple(f"the call writes no element of `{name}`" for name in self._names.values())
