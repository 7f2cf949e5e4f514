"""Runs small pieces of code in the lanes and shows traces shortly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lane_traces import trace_in

from oom_suite.tracing.shadow import ShadowLane

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


def _backward(sizes, device):
    x = torch.ones(sizes["n"], device=device, requires_grad=True)
    return lambda: x.sum().backward()


# autograd counts the devices at a process's first backward pass, and never again. A test of real
# tensors may come first, where there is none: so here, before any test, there is one.
ShadowLane(Path(__file__).parent).run(_backward, {"n": 1})
