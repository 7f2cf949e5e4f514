"""What every safety detector takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from oom_suite.records.safety import Finding


@dataclass(frozen=True, slots=True)
class Target:
    """The code under test and where it runs; in a child process of its own.

    Attributes:
        call: takes the fourteen keywords of a decode step and writes ``output``.
        root: the folder that its source paths are shown relative to.
        workload: ``"decode"`` or ``"decode-swa"``.
        device: where real tensors lie.
        fp8_dtype: the fp8 that the caches hold.
    """

    call: Callable[..., Any]
    root: Path
    workload: str
    device: torch.device
    fp8_dtype: torch.dtype


class Detector(Protocol):
    """Looks for breaches of one property; what the code under test does never makes it raise."""

    name: str
    """One of `oom_suite.records.safety.PROPERTIES`."""

    def __call__(self, target: Target) -> Finding:
        """The verdict on that property."""
