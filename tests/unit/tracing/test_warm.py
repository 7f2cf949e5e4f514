"""What a process does that imports `tracing.warm`: the fork server, before its first child."""

from __future__ import annotations

import gc
import sys

import pytest
import torch

from oom_suite.processes import child_main
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane

WARM = "oom_suite.tracing.warm"
"""Imported in a test alone: importing it hides this process's GPUs from all that come after."""


@pytest.fixture
def done(monkeypatch):
    """What importing it anew does to the process, in order; this process is left as it is."""
    steps = []
    run, prove = ShadowLane.run, ProveLane.run

    def call(lane, build, sizes):
        trace = run(lane, build, sizes)
        steps.append("a call")
        return trace

    def symbolic(lane, build, hints):
        trace = prove(lane, build, hints)
        steps.append("one on symbols")
        return trace

    monkeypatch.setattr(child_main, "hide_gpus", lambda: steps.append("GPUs are hidden"))
    monkeypatch.setattr(torch, "set_num_threads", lambda num: steps.append(f"threads: {num}"))
    monkeypatch.setattr(ShadowLane, "run", call)
    monkeypatch.setattr(ProveLane, "run", symbolic)
    monkeypatch.setattr(gc, "freeze", lambda: steps.append("what is there is no garbage"))
    yield steps
    sys.modules.pop(WARM, None)


WHOLE = [
    "GPUs are hidden",
    "threads: 1",
    "a call",
    "one on symbols",
    "what is there is no garbage",
]


def import_anew():
    sys.modules.pop(WARM, None)
    import oom_suite.tracing.warm

    return oom_suite.tracing.warm


def test_gpus_are_hidden_before_the_first_fake_call(done, monkeypatch):
    """A fake tensor would start the driver, which no forked child could use."""
    import_anew()
    assert done == WHOLE


def test_a_call_that_fails_leaves_the_server_alive(done, monkeypatch):
    """A child would report the same error; the server would end without a word."""

    def call(*args):
        raise RuntimeError

    monkeypatch.setattr(ShadowLane, "run", call)
    monkeypatch.setattr(ProveLane, "run", call)
    import_anew()
    assert done == [step for step in WHOLE if "a call" != step != "one on symbols"]
