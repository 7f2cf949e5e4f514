"""Conditions on floats of sizes decide which branch speaks of which sizes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from oom_suite.laws.branches import holds
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove.lane import ProveLane

HERE = Path(__file__).parent


def splits(length, most=8, block=32):
    """The fewest parts of a length that take no more turns than `most` parts do."""
    turns = [math.ceil(math.ceil(length / parts) / block) for parts in range(1, most + 1)]
    return next(n for n, each in enumerate(turns, 1) if each == turns[-1])


def build(sizes, device):
    """A row for each part; the length is an average, as kernels with splits have it."""
    rows, width = sizes["n"], sizes["k"]

    def call():
        each = rows * width * (1.0 / max(1, rows))
        return torch.empty(splits(each) * rows, device=device)

    return call


@pytest.mark.parametrize("width", [32, 33, 128, 129, 224, 256, 257])
def test_a_branch_speaks_of_the_sizes_that_take_it(width):
    """At the last and the first size of each number of parts."""
    trace = ProveLane(HERE).run(build, Hints({"n": 4, "k": 128}))
    assert [16 * 4] == [int(each.requested({"n": 4, "k": 128})) for each in trace.allocations]
    sizes = {"n": 4, "k": width}
    assert all(guard.formula.names <= sizes.keys() for guard in trace.guards)
    taken = all(holds(guard, sizes) for guard in trace.guards)
    assert (splits(width) == splits(128)) is taken


@pytest.mark.parametrize(
    "function",
    [math.trunc, abs, round, math.floor, lambda x: x**0.5, lambda x: x**2.0],
    ids=["trunc", "abs", "round", "floor", "root", "square"],
)
def test_functions_of_sizes_are_evaluated(function):
    def build(sizes, device):
        n = sizes["n"]
        return lambda: torch.empty(n if function(n / 2.0) > function(4.0) else 2 * n)

    trace = ProveLane(HERE).run(build, Hints({"n": 64}))
    held = [n for n in (1, 8, 9, 20) if all(holds(each, {"n": n}) for each in trace.guards)]
    assert [n for n in (1, 8, 9, 20) if function(n / 2.0) > function(4.0)] == held
