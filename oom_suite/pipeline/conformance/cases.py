"""A call that is predicted and measured, from whichever suite it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    import torch

    from oom_suite.tracing.lane import Build

    class Cases(Protocol):
        """The cases of a unit."""

        def __call__(self, unit: Unit) -> Iterator[Case]:
            """Each in turn, the same each time it is asked."""
            ...


SUITES = ("operators", "modules", "scaled", "models")


@dataclass(frozen=True, slots=True)
class Unit:
    """What cases are made of: an operator, a module, a call of the list, a model.

    Attributes:
        suite: one of `SUITES`.
        name: its name there.
        device_type: of the device that it is measured on.
        dtypes: the types that it takes there, ``"float32"``; empty where the suite decides.
    """

    suite: str
    name: str
    device_type: str = "cpu"
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One call.

    Attributes:
        name: which call of its unit: dtype, sample, sizes, step.
        build: from sizes (none) and a device to the call, its inputs bound. A call that has a
            ``model`` is given to torch's MemTracker as well.
    """

    name: str
    build: Build


def short(dtype: torch.dtype) -> str:
    """``bfloat16``."""
    return str(dtype).removeprefix("torch.")
