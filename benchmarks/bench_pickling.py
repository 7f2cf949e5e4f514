"""What a trace costs on its way between processes: beside the same records as dataclasses alone.

Run it with ``pytest benchmarks/bench_pickling.py``; the second row is what the first is spared.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from oom_suite.records import Event

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

_NUM_EVENTS = 20_000


@dataclass(frozen=True, slots=True)
class PlainEvent:
    """`Event` as dataclasses have it."""

    kind: str
    allocation: int


@pytest.mark.parametrize("kind", [Event, PlainEvent])
def test_there_and_back(benchmark: BenchmarkFixture, kind: type) -> None:
    """Twenty thousand events, as a run of some hundred operators at fifty sizes has them."""
    events = [kind("alloc", number) for number in range(_NUM_EVENTS)]
    assert events == benchmark(lambda: pickle.loads(pickle.dumps(events)))
