"""What a decode call asks of the allocator, counted on fake tensors."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from oom_suite.workloads.sparse_mla.step import build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """The live sum of the storages that operators return, and its peak, in bytes."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        """Know the inputs, which do not count."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.live_bytes: int = 0
        self.peak_bytes: int = 0
        tensors = [value for value in inputs.values() if isinstance(value, torch.Tensor)]
        self._known = {tensor.untyped_storage()._cdata for tensor in tensors}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        """Count what the operator made."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, num_bytes = storage._cdata, storage.nbytes()
        if key in self._known or not isinstance(num_bytes, int):
            return
        self._known.add(key)
        self.live_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._freed, key, num_bytes)

    def _freed(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self.live_bytes -= num_bytes


def _peak(subject: Callable[..., None], sizes: Mapping[str, int]) -> int:
    step = build(sizes, "cpu")
    counter = LiveBytes(step)
    with counter:
        subject(**step)
    return counter.peak_bytes


@pytest.fixture
def real_peak() -> Callable[[Callable[..., None], Mapping[str, int]], int]:
    """A function that gives a subject's peak of live bytes at these sizes, inputs excluded."""
    return _peak


@pytest.fixture
def live_peak() -> Callable[[Callable[..., None], Mapping[str, int]], int]:
    """The same without data, at any size."""

    def peak(subject: Callable[..., None], sizes: Mapping[str, int]) -> int:
        with FakeTensorMode():
            return _peak(subject, sizes)

    return peak


@pytest.fixture
def symbolic_mode() -> FakeTensorMode:
    """Fake tensors that allow results whose size depends on data."""
    return FakeTensorMode(shape_env=ShapeEnv(allow_dynamic_output_shape_ops=True))
