"""What a comparison says of numbers that are drawn evenly from 0 to 1."""

from __future__ import annotations

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.tracing.uniform import Uniform
from tests.unit.tracing.lane_traces import trace_in

DRAWN = torch.rand(4)
LIMITS = (-0.5, 0, 0.0, 0.5, 1, 1.0, 2.5)
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


def known():
    uniform = Uniform()
    uniform.follow("aten::rand", DRAWN)
    return uniform


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("limit", LIMITS)
def test_a_comparison_is_sure_where_it_is_so_for_all_that_may_be_drawn(name, limit):
    """The least that is drawn is 0, and 1 is never reached."""
    least_and_most = torch.tensor([0.0, 0.25, 0.5, 1 - 2**-24], dtype=torch.float64)
    truths = set(getattr(least_and_most, name)(limit).tolist())
    expected = truths.pop() if len(truths) == 1 else None
    assert expected is known().compared(f"aten::{name}", (DRAWN, limit))


@pytest.mark.parametrize(
    ("op", "is_even"),
    [("rand", True), ("rand_like", True), ("randn", False), ("randint", False), ("ones", False)],
)
def test_what_is_drawn_evenly_from_0_to_1_is_known(op, is_even):
    uniform = Uniform()
    uniform.follow(f"aten::{op}", DRAWN)
    assert (False if is_even else None) is uniform.compared("aten::lt", (DRAWN, 0.0))


def test_nothing_is_sure_of_other_tensors():
    assert known().compared("aten::lt", (torch.ones(4), 0.0)) is None
    assert known().compared("aten::lt", (DRAWN, DRAWN)) is None
    assert known().compared("aten::add", (DRAWN, 0.0)) is None
    assert known().compared("aten::lt", (0.0, DRAWN)) is None
    assert known().compared("aten::lt", (torch.ones(4).to_sparse(), 0.0)) is None


def test_what_was_written_to_is_no_longer_known():
    uniform = known()
    uniform.forget([torch.ones(4).to_sparse(), DRAWN])
    assert uniform.compared("aten::lt", (DRAWN, 0.0)) is None


def dropping(rate):
    def body():
        if torch.rand([]) < rate:
            return torch.ones(4)
        return torch.ones(8, device="cuda")

    return body


def test_layers_that_are_dropped_at_no_rate_run():
    assert [32] == [each.requested_bytes for each in trace_in("shadow", dropping(0.0)).allocations]


def test_whether_a_layer_is_dropped_at_some_rate_is_not_drawn():
    with pytest.raises(LaneError, match="reads a value"):
        trace_in("shadow", dropping(0.25))


def test_what_was_changed_after_it_was_drawn_is_unknown():
    def body():
        drawn = torch.rand([])
        drawn.mul_(2.0)
        return bool(drawn < 1.0)

    with pytest.raises(LaneError, match="reads a value"):
        trace_in("shadow", body)
