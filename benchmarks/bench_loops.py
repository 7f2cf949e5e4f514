"""Time for the laws of loops: by their turns, and by the events of the run at the scenario.

Compare the rows as ratios; machines differ. A law of a thousand turns is to take little more than
one of ten: the difference is the run at the scenario itself, made three times. Without lanes, on
traces that are there, the second table has what the fit costs by the number of events.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import torch

from oom_suite.laws.derive import derive
from oom_suite.pipeline.law_tests.promise import varied_axes
from oom_suite.pipeline.predicting import program_of
from oom_suite.pipeline.programs import Run
from oom_suite.processes.askers import InThisProcess
from oom_suite.records import Allocation, Contract, Event, Frame, Trace, Workload
from oom_suite.tracing.lane_spec import LaneSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_benchmark.fixture import BenchmarkFixture

TURNS = (8, 64, 512, 2048)
EVENTS = (100, 1_000, 10_000, 100_000, 1_000_000)
_EVENTS_A_TURN = 4


def _rows(sizes: Any, device: torch.device) -> Callable[[], torch.Tensor]:
    """One small reduction for each token, and a stack of them."""
    logits = torch.zeros(sizes.tokens, sizes.vocab, dtype=torch.bfloat16, device=device)

    def call() -> torch.Tensor:
        return torch.stack([logits[i].float().log_softmax(-1).max() for i in range(sizes.tokens)])

    return call


def _workload(sizes: Mapping[str, int]) -> Workload:
    return Workload("loop", varied_axes(sizes, sizes), builder="", contract=Contract())


def _trace(sizes: Mapping[str, int]) -> Trace:
    """What a loop asks for: a temporary and a row that stays in each turn."""
    scores, row = (((Frame("loop.py", line, "call"),)) for line in (1, 2))
    allocations: list[Allocation] = []
    events: list[Event] = []
    for turn in range(sizes["tokens"]):
        allocations += [Allocation(256, "aten::add", scores), Allocation(8, "aten::sum", row)]
        events += [Event("alloc", 2 * turn), Event("free", 2 * turn), Event("alloc", 2 * turn + 1)]
    events += [Event("free", number) for number in range(1, len(allocations), 2)]
    return Trace("shadow", sizes, tuple(allocations), tuple(events))


@pytest.mark.parametrize("turns", TURNS)
def test_a_law_by_the_turns_of_its_loop(
    benchmark: BenchmarkFixture, turns: int, is_timed: bool
) -> None:
    """All exact runs of a law, in the shadow lane of this process."""
    sizes = {"tokens": turns if is_timed else TURNS[0], "vocab": 64}
    here, program = InThisProcess(), program_of(_rows)

    def run(at: Mapping[str, int]) -> Trace:
        return here.ask(Run(program, LaneSpec("shadow"), at))

    find = functools.partial(derive, run, _workload(sizes), sizes)
    benchmark.pedantic(find, rounds=3 if is_timed else 1, warmup_rounds=int(is_timed))


@pytest.mark.parametrize("num_events", EVENTS)
def test_a_fit_by_the_events_of_a_run(
    benchmark: BenchmarkFixture, num_events: int, is_timed: bool
) -> None:
    """The same on traces that are made here: what is left is the arithmetic."""
    sizes = {"tokens": (num_events if is_timed else EVENTS[0]) // _EVENTS_A_TURN}
    find = functools.partial(derive, _trace, _workload(sizes), sizes)
    benchmark.pedantic(find, rounds=1)
