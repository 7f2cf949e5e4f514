"""Streams, events and generators of a device that is only believed in."""

from __future__ import annotations

import sys
from typing import Any

import torch

from oom_suite.torch_compat.fakes import FakeTensor

_TorchGenerator = torch.Generator
"""Kept: while code believes in its target, the name leads here."""

_DEVICE_TYPE = 1
"""Source: PyTorch 2.13 ``torch/headeronly/core/DeviceType.h``: the number of CUDA."""


class Stream(torch.Stream):
    """A stream that holds no work, and can be given wherever torch takes one."""

    def __new__(cls, device: object = None, priority: int = 0, **_: object) -> Stream:
        """The device's one stream, whichever is asked for."""
        del device, priority
        return super().__new__(cls, stream_id=0, device_index=0, device_type=_DEVICE_TYPE)

    @property
    def cuda_stream(self) -> int:
        """The handle of the default stream."""
        return 0

    @property
    def priority(self) -> int:
        """The default priority."""
        return 0

    def wait_stream(self, stream: object) -> None:
        """Nothing is to be waited for."""

    def wait_event(self, event: object) -> None:
        """Nothing is to be waited for."""

    def record_event(self, event: Any = None) -> Any:
        """An event that has happened."""
        return event or Event()

    def query(self) -> bool:
        """True: all work is done."""
        return True

    def synchronize(self) -> None:
        """Nothing is to be waited for."""


class Event(torch.Event):
    """An event that has happened."""

    def __new__(cls, *_: object, **__: object) -> Event:
        """An event of the device."""
        return super().__new__(cls, "cuda")

    def record(self, stream: object = None) -> None:
        """Nothing is to be recorded."""

    def wait(self, stream: object = None) -> None:
        """Nothing is to be waited for."""

    def query(self) -> bool:
        """True."""
        return True

    def elapsed_time(self, end_event: object) -> float:
        """Milliseconds: none, for nothing ran."""
        del end_event
        return 0.0

    def synchronize(self) -> None:
        """Nothing is to be waited for."""


class _KindOfGenerator(type(_TorchGenerator)):  # type: ignore[misc]  # differs by version
    def __instancecheck__(cls, instance: object) -> bool:
        """Torch's own generators are of this kind, too."""
        return isinstance(instance, _TorchGenerator)


class Generator(_TorchGenerator, metaclass=_KindOfGenerator):
    """A random generator of the CPU that says where it was asked to be."""

    def __new__(cls, device: str | int | torch.device = "cpu") -> Generator:
        """A generator of the CPU: no values are drawn on a device that is not there."""
        del device
        made: Generator = super().__new__(cls, "cpu")  # type: ignore[call-arg]  # a stub's gap
        return made

    def __init__(self, device: str | int | torch.device = "cpu") -> None:
        said = torch.device(device)
        self._said = torch.device(said.type, said.index or 0) if said.type != "cpu" else said

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # torch's is read-only, too
        """Where it was asked to be."""
        return self._said


class _AsTorchSeesIt(type):
    """Answers torch itself, which makes fakes what they are, and nobody else."""

    def __instancecheck__(cls, instance: object) -> bool:
        return _asked_by_torch() and isinstance(instance, FakeTensor)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return _asked_by_torch() and issubclass(subclass, FakeTensor)


class FakeOfTorch(metaclass=_AsTorchSeesIt):
    """What ``torch._subclasses.FakeTensor`` is to code under test: the type of no tensor.

    transformers looks at the values of a mask, and leaves it out where it hides nothing; of fake
    tensors it keeps every mask, and attention takes another kernel than on a device.
    """


def _asked_by_torch() -> bool:
    asking: str = sys._getframe(2).f_globals.get("__name__", "")
    return asking.partition(".")[0] == "torch"
