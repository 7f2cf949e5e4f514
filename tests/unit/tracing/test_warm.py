"""What a process does that imports `tracing.warm`: the fork server, before its first child."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

import oom_suite.tracing.warm
from oom_suite.processes import child_main
from oom_suite.tracing.shadow import ShadowLane


@pytest.fixture
def done(monkeypatch):
    """What importing it anew does to the process, in order; this process is left as it is."""
    steps = []
    run = ShadowLane.run

    def call(lane, build, sizes):
        trace = run(lane, build, sizes)
        steps.append("a call")
        return trace

    monkeypatch.setattr(child_main, "hide_gpus", lambda: steps.append("GPUs are hidden"))
    monkeypatch.setattr(torch, "set_num_threads", lambda num: steps.append(f"threads: {num}"))
    monkeypatch.setattr(ShadowLane, "run", call)
    return steps


def import_anew(monkeypatch):
    monkeypatch.delitem(sys.modules, oom_suite.tracing.warm.__name__)
    importlib.import_module(oom_suite.tracing.warm.__name__)


def test_gpus_are_hidden_before_the_first_fake_call(done, monkeypatch):
    """A fake tensor would start the driver, which no forked child could use."""
    import_anew(monkeypatch)
    assert ["GPUs are hidden", "threads: 1", "a call"] == done


def test_a_call_that_fails_leaves_the_server_alive(done, monkeypatch):
    """A child would report the same error; the server would end without a word."""

    def call(*args):
        raise RuntimeError

    monkeypatch.setattr(ShadowLane, "run", call)
    import_anew(monkeypatch)
    assert ["GPUs are hidden", "threads: 1"] == done
