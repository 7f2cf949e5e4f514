"""What recording costs: the recorder beside a mode that does nothing and torch's MemTracker.

Run it with ``pytest benchmarks/bench_recorder.py``; each row is the same real work on the CPU,
many small operators, in the same process, and has beside it how often the plain work's time it is.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from oom_suite.tracing.recorder import Recorder
from oom_suite.tracing.source_lines import lines_under_test

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

_LINES = lines_under_test(Path(__file__).parent)


class NoOp(TorchDispatchMode):
    """A dispatch mode that only passes on."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator."""
        return func(*args, **(kwargs or {}))


def work() -> torch.Tensor:
    """A thousand small operators: what a decode step's host code is made of."""
    x = torch.ones(64, 64)
    total = torch.zeros(64)
    for _ in range(125):
        y = (x * 2).transpose(0, 1)
        scores = (y @ x).softmax(-1)
        total = total + scores[:, :32].contiguous().sum(-1)
    return total


def plain() -> None:
    """The work alone."""
    work()


def no_op() -> None:
    """The work under a mode that does nothing."""
    with NoOp():
        work()


def recorder() -> None:
    """The work under our recorder."""
    mode = Recorder("cpu", _LINES)
    with mode:
        mode.record(work)


def mem_tracker() -> None:
    """The work under torch's own memory tracker."""
    from torch.distributed._tools.mem_tracker import MemTracker

    with MemTracker():
        work()


@pytest.mark.parametrize("run", [plain, no_op, recorder, mem_tracker], ids=lambda f: f.__name__)
def test_work(benchmark: BenchmarkFixture, run: Callable[[], None]) -> None:
    """One kind of watching the work."""
    if run is mem_tracker:
        pytest.importorskip("torch.distributed._tools.mem_tracker")
    with contextlib.suppress(RuntimeError):
        torch.set_num_threads(1)
    benchmark.pedantic(run, rounds=15, warmup_rounds=3)
