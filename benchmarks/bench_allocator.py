"""Time for a replay: events of a decode-like trace through the allocator model, by setting.

Run it with ``pytest benchmarks/bench_allocator.py -s``; the last test prints microseconds an
event. Compare the rows as ratios; machines differ.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from oom_suite.allocator import parse_settings, peaks_of
from oom_suite.records import Allocation, Event, Trace

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

NUM_STEPS = 1000
SETTINGS = (
    "",
    "max_split_size_mb:64",
    "roundup_power2_divisions:4",
    "expandable_segments:True",
)
_seconds: dict[str, float] = {}


def decode_steps() -> Trace:
    """A thousand steps of 75 requests each, 1 KiB to 64 MiB, freed within the step."""
    source = random.Random(0)
    sizes = [int(2 ** source.uniform(10, 26)) for _ in range(75)]
    allocations, events = [], []
    for _ in range(NUM_STEPS):
        live: list[int] = []
        for size in sizes:
            live.append(len(allocations))
            events.append(Event("alloc", len(allocations)))
            allocations.append(Allocation(size, "aten.empty", ()))
            if len(live) > 12:
                events.append(Event("free", live.pop(source.randrange(len(live)))))
        events.extend(Event("free", index) for index in live)
    return Trace("shadow", {}, tuple(allocations), tuple(events))


TRACE = decode_steps()


@pytest.mark.parametrize("text", SETTINGS, ids=lambda text: text or "default")
def test_replay(benchmark: BenchmarkFixture, text: str) -> None:
    """The four peaks of a thousand steps."""
    settings = parse_settings(text)
    peaks = benchmark.pedantic(peaks_of, (TRACE, settings), rounds=3, warmup_rounds=1)
    assert peaks.reserved_bytes >= peaks.allocated_bytes >= TRACE.peak().num_bytes
    _seconds[text or "default"] = benchmark.stats.stats.min


def test_rates() -> None:
    """The figures in words."""
    num_events = len(TRACE.events)
    for name, seconds in _seconds.items():
        print(f"{name:28} {seconds * 1e6 / num_events:6.2f} us an event, {num_events:,} events")
