"""Fake tensors, which have a shape, a dtype and a device and no memory, and their mode."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

import torch

from oom_suite.torch_compat.per_thread import PerThread
from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.torch_compat.symbols import SymbolEnv

_FAKES = "torch._subclasses.fake_tensor"

NAMES = (
    Name("torch._subclasses:FakeTensor"),
    Name(f"{_FAKES}:FakeTensor", positional=3),
    Name(f"{_FAKES}:FakeTensor.fake_device"),
    Name(f"{_FAKES}:FakeTensor.fake_mode"),
    Name(f"{_FAKES}:FakeTensor.constant"),
    Name(f"{_FAKES}:FakeTensorMode", keywords=("allow_non_fake_inputs", "shape_env"), positional=0),
    Name(f"{_FAKES}:FakeTensorMode.cache_enabled"),
    Name(f"{_FAKES}:FakeTensorMode.from_tensor", positional=2),
    Name(f"{_FAKES}:FakeTensorMode.fake_tensor_converter"),
    Name(f"{_FAKES}:FakeTensorConverter.set_tensor_memo", positional=3),
    Name(f"{_FAKES}:DataDependentOutputException"),
    Name(f"{_FAKES}:DynamicOutputShapeException"),
    Name(f"{_FAKES}:UnsupportedOperatorException"),
    Name(f"{_FAKES}:UnsupportedOperatorException.func"),
)
"""The names of torch behind this module."""

with needed("every lane needs", NAMES):
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
        FakeTensor,
        FakeTensorMode,
        UnsupportedOperatorException,
    )

__all__ = [
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "FakeMode",
    "FakeTensor",
    "UnsupportedOperatorException",
    "device_of",
    "fake_of",
    "forget_literal",
    "is_made_by",
    "is_real",
    "literal_of",
    "new_fake",
    "operator_without_fake",
    "public_type",
]


_RECORD_STREAM = torch.ops.aten.record_stream.default


def _not_kept(_meta: torch.Tensor, _fake: FakeTensor) -> None:
    """Keep no reference to a fake by the meta tensor that it was made of."""


class FakeMode(FakeTensorMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """torch's mode of fake tensors, as the lanes use it: without torch's memory of results.

    Several threads may enter it; one of them at a time runs an operator.

    Args:
        symbols: the environment of symbolic sizes; None where all sizes are numbers.

    Attributes:
        elsewhere: gives what is to be entered around an operator on this mode's fakes that comes
            from a thread where only torch has entered the mode; None on every other thread.
    """

    old_dispatch_mode_flags = PerThread(deque)
    old_non_infra_dispatch_mode_flags = PerThread(deque)
    old_without_ignore_compile_internals_dispatch_mode_flags = PerThread(deque)
    enter_stack = PerThread(list)
    in_kernel_invocation = PerThread(bool)

    def __init__(self, symbols: SymbolEnv | None = None) -> None:
        """Let the code under test use real tensors beside fakes."""
        super().__init__(allow_non_fake_inputs=True, shape_env=symbols)
        self.cache_enabled = False
        self.elsewhere: Callable[[], AbstractContextManager[None] | None] = _nowhere
        # torch would keep a weak reference to each result by the meta tensor that it was made of,
        # which nobody asks for again; and a parameter with one cannot be converted in place.
        # Source: PyTorch 2.13 torch/utils/__init__.py, swap_tensors.
        vars(self.fake_tensor_converter)["set_tensor_memo"] = _not_kept

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The fake result of an operator on fakes."""
        if func is _RECORD_STREAM:
            # It has no kernel for fakes; it tells the allocator when the memory is free.
            return None
        entered = self.elsewhere()
        if entered is None:
            return super().__torch_dispatch__(func, types, args, kwargs or {})
        # A thread made earlier: torch came here by itself, for one of the tensors is a fake.
        with entered:
            return func(*args, **(kwargs or {}))

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: who copies a module copies the fakes in it, and both are of this mode."""
        return self

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """As of `oom_suite.torch_compat.dispatch.DispatchMode`."""
        return False


def _nowhere() -> None:
    """Every thread is as good as the first."""


def is_real(tensor: torch.Tensor) -> bool:
    """Whether a tensor has memory behind it."""
    return not isinstance(tensor, FakeTensor)


def device_of(tensor: torch.Tensor) -> torch.device:
    """The device that a tensor, fake or real, is on; asking a fake one costs an operator call."""
    return tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device


def is_made_by(fake: FakeTensor, mode: FakeMode) -> bool:
    """Whether a fake tensor belongs to a mode."""
    return fake.fake_mode is mode


def literal_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """The real tensor that torch keeps beside the fake of a literal; None where it keeps none."""
    return tensor.constant if isinstance(tensor, FakeTensor) else None


def forget_literal(fake: FakeTensor) -> None:
    """Drop what `literal_of` gives: torch would compute with it, wherever the fake is moved."""
    fake.constant = None


def fake_of(tensor: torch.Tensor, mode: FakeMode) -> FakeTensor:
    """The fake that stands for a real tensor in a mode, the same each time."""
    return mode.from_tensor(tensor)


def new_fake(meta: torch.Tensor, device: torch.device, mode: FakeMode) -> FakeTensor:
    """A fake tensor of a mode.

    Args:
        meta: a tensor on the meta device, of any shape and dtype, which the fake wraps.
        device: where the fake says that it is.
        mode: whose it is.
    """
    return FakeTensor(mode, meta, device)


def operator_without_fake(error: BaseException) -> str | None:
    """The operator, as ``namespace::name``, where an error says that it cannot run on fakes."""
    if not isinstance(error, UnsupportedOperatorException):
        return None
    namespace, _, rest = str(error.func).partition(".")
    return f"{namespace}::{rest.partition('.')[0]}"


@contextlib.contextmanager
def public_type(stand_in: type) -> Iterator[None]:
    """While active, ``torch._subclasses.FakeTensor`` is another type."""
    with mock.patch.object(torch._subclasses, "FakeTensor", stand_in):
        yield
