"""Runs small pieces of code in the lanes and shows traces shortly."""

from __future__ import annotations

from pathlib import Path

import pytest
from lane_traces import trace_in

ROOT = Path(__file__).parent


def short(trace):
    """The trace's events as ``+bytes`` and ``-bytes``."""
    sign = {"alloc": 1, "free": -1}
    return [
        sign[event.kind] * trace.allocations[event.allocation].requested_bytes
        for event in trace.events
    ]


@pytest.fixture(params=["shadow", "measure"])
def record(request):
    """A function that gives the trace of a call, in each lane."""
    return lambda body, make=lambda device: (): trace_in(request.param, body, make)


@pytest.fixture
def shadow():
    """A function that gives the trace of a call in the shadow lane."""
    return lambda body, make=lambda device: (): trace_in("shadow", body, make)


@pytest.fixture
def measure():
    """A function that gives the trace of a call in the measure lane."""
    return lambda body, make=lambda device: (): trace_in("measure", body, make)


@pytest.fixture(name="short")
def _short():
    """A function that shows a trace's events as signed bytes."""
    return short
