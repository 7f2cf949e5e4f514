"""What a lane is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch

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
