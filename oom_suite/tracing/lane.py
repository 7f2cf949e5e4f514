"""What a lane is, and the dispatch mode that the suite's own modes are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from oom_suite.records import Trace


Build = Callable[[Mapping[str, int], torch.device], Callable[[], object]]
"""From the axes' values and a device to the call under test, its inputs bound."""


class Lane(Protocol):
    """Runs a call and yields its trace."""

    name: str

    def run(self, build: Build, sizes: Mapping[str, int]) -> Trace:
        """The trace of one call of ``build(sizes, device)``; inputs are not in it."""
        ...


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """A dispatch mode that leaves torch's compiler alone.

    Source: PyTorch 2.13 ``torch/utils/_python_dispatch.py``, ``__init_subclass__``.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler (a second of start-up) to wrap each call."""
        return False
