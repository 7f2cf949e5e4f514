"""Time for a replay: events of a decode-like trace through the allocator model, by setting.

Run it with ``pytest benchmarks/bench_allocator.py``. Compare the rows as ratios; machines differ.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from oom_suite.allocator import parse_settings, peaks_of
from oom_suite.records import Allocation, Event, Trace

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

SETTINGS = (
    "",
    "max_split_size_mb:64",
    "roundup_power2_divisions:4",
    "expandable_segments:True",
)


def decode_steps(num_steps: int) -> Trace:
    """Steps of 75 requests each, 1 KiB to 64 MiB, freed within the step."""
    source = random.Random(0)
    sizes = [int(2 ** source.uniform(10, 26)) for _ in range(75)]
    allocations, events = [], []
    for _ in range(num_steps):
        live: list[int] = []
        for size in sizes:
            live.append(len(allocations))
            events.append(Event("alloc", len(allocations)))
            allocations.append(Allocation(size, "aten.empty", ()))
            if len(live) > 12:
                events.append(Event("free", live.pop(source.randrange(len(live)))))
        events.extend(Event("free", index) for index in live)
    return Trace("shadow", {}, tuple(allocations), tuple(events))


@pytest.fixture
def trace(is_timed: bool) -> Trace:
    """A thousand steps, or a few."""
    return decode_steps(1000 if is_timed else 20)


@pytest.mark.parametrize("text", SETTINGS, ids=lambda text: text or "default")
def test_replay(benchmark: BenchmarkFixture, trace: Trace, text: str) -> None:
    """The four peaks of all steps."""
    benchmark.extra_info["num_events"] = len(trace.events)
    settings = parse_settings(text)
    peaks = benchmark.pedantic(peaks_of, (trace, settings), rounds=3, warmup_rounds=1)
    assert peaks.reserved_bytes >= peaks.allocated_bytes >= trace.peak().num_bytes
