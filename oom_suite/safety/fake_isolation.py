"""Runs work with fake tensors in a fork of this process, so that nothing it leaves behind stays."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from oom_suite.errors import LaneError, OomSuiteError, line_of
from oom_suite.processes import forked
from oom_suite.tracing.shadow import ShadowLane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Answer = TypeVar("Answer")


class Runs(Protocol):
    """How a detector runs work with fake tensors: `in_fork` or `in_place`."""

    def __call__(self, work: Callable[[], Answer], time_limit_s: float) -> Answer:
        """What `work` returns."""


def in_fork(work: Callable[[], Answer], time_limit_s: float) -> Answer:
    """What `work` returns, run in a fork that has all of torch's fake tensors loaded.

    Code under test may keep tensors in a global: a fake one must not meet a real one of another
    run.

    Raises:
        LaneError: as of `oom_suite.processes.forked.in_fork`.
    """
    _load_fake_tensors()
    return forked.in_fork(work, time_limit_s)


def in_place(work: Callable[[], Answer], time_limit_s: float) -> Answer:
    """What `work` returns, run in this process: for code that is known to keep nothing.

    What torch computes of fake tensors stays here for the next one, and no memory is copied.

    Args:
        work: as of `in_fork`.
        time_limit_s: ignored; whoever started this process limits it.

    Raises:
        LaneError: it raised.
    """
    del time_limit_s
    try:
        return work()
    except OomSuiteError as error:
        raise LaneError(str(error)) from error
    except Exception as error:
        raise LaneError(line_of(error)) from error


@functools.cache
def _load_fake_tensors() -> None:
    """Let torch load what it loads with the first fake tensor, once and not in every fork."""

    def build(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
        numbers = torch.arange(sizes["n"], device=device)
        return lambda: torch.unique(numbers)

    ShadowLane(Path("/")).run(build, {"n": 2})
