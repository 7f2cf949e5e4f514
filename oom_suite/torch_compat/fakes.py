"""Fake tensors, which have a shape, a dtype and a device and no memory, and their mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    import torch

    from oom_suite.torch_compat.symbols import SymbolEnv

_FAKES = "torch._subclasses.fake_tensor"

NAMES = (
    Name(f"{_FAKES}:FakeTensor", positional=3),
    Name(f"{_FAKES}:FakeTensor.fake_device"),
    Name(f"{_FAKES}:FakeTensor.fake_mode"),
    Name(f"{_FAKES}:FakeTensor.constant"),
    Name(f"{_FAKES}:FakeTensorMode", keywords=("allow_non_fake_inputs", "shape_env"), positional=0),
    Name(f"{_FAKES}:FakeTensorMode.cache_enabled"),
    Name(f"{_FAKES}:FakeTensorMode.from_tensor", positional=2),
    Name(f"{_FAKES}:FakeTensorMode.fake_tensor_converter"),
    Name(f"{_FAKES}:FakeTensorConverter.from_meta_and_device", positional=4),
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
        FakeTensorConverter,
        FakeTensorMode,
        UnsupportedOperatorException,
    )

__all__ = [
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "FakeMode",
    "FakeTensor",
    "device_of",
    "fake_of",
    "forget_literal",
    "is_made_by",
    "is_real",
    "literal_of",
    "new_fake",
    "operator_without_fake",
]


class _ConverterOfResults(FakeTensorConverter):  # type: ignore[misc]  # torch does not annotate it
    """Torch's converter, but for weak references to the results of operators.

    A result's meta tensor never comes again, so there is nothing to remember; and a parameter that
    something refers to weakly cannot be converted: ``module.to(torch.bfloat16)`` would raise.
    """

    def from_meta_and_device(
        self,
        fake_mode: FakeTensorMode,
        t: torch.Tensor,
        device: torch.device,
        pytype: type[torch.Tensor] | None = None,
        dispatch_keys: torch.DispatchKeySet | None = None,
    ) -> FakeTensor:
        """The fake of a new meta tensor."""
        return FakeTensor(fake_mode, t, device, pytype=pytype, dispatch_keys=dispatch_keys)


class FakeMode(FakeTensorMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """torch's mode of fake tensors, as the lanes use it: without torch's memory of results.

    Args:
        symbols: the environment of symbolic sizes; None where all sizes are numbers.
    """

    def __init__(self, symbols: SymbolEnv | None = None) -> None:
        """Let the code under test use real tensors beside fakes."""
        super().__init__(allow_non_fake_inputs=True, shape_env=symbols)
        self.cache_enabled = False
        self.fake_tensor_converter = _ConverterOfResults()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """As of `oom_suite.torch_compat.dispatch.DispatchMode`."""
        return False


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
