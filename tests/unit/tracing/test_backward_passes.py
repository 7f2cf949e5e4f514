"""Backward passes on the device without memory: gradients, refusals, random state."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from oom_suite.errors import LaneError
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.tracing.lanes import RunningLane
from oom_suite.tracing.made_here import MADE_HERE
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
NO_KERNEL = "has no fake kernel for aten::multi_margin_loss_backward"


def margin(sizes, device):
    x = torch.empty(sizes["n"], 8, device=device, requires_grad=True)
    target = torch.zeros(sizes["n"], dtype=torch.int64, device=device)
    return lambda: F.multi_margin_loss(x, target).backward()


def margins(sizes, device):
    x = torch.empty(sizes["n"], 8, device=device, requires_grad=True)
    target = torch.zeros(sizes["n"], 8, dtype=torch.int64, device=device)
    return lambda: F.multilabel_margin_loss(x, target).backward()


def pool(sizes, device):
    x = torch.empty(1, sizes["n"], 8, 8, 8, device=device, requires_grad=True)
    return lambda: F.fractional_max_pool3d(x, 2, output_size=(4, 4, 4)).sum().backward()


def traced(lane, build, num_rows=4):
    """What a lane gives for so many rows."""
    running = RunningLane(LaneSpec(lane), HERE)
    sizes = {"n": num_rows}
    return running.run(build, sizes) if lane == "shadow" else running.prove(build, Hints(sizes))


@pytest.mark.parametrize(
    ("build", "num_bytes"), [(margin, 4 * 8 * 4), (margins, 4 * 8 * 4), (pool, 4 * 8**3 * 4)]
)
def test_gradients_without_a_fake_kernel_of_torch_are_as_large_as_the_input(build, num_bytes):
    """They ended the process."""
    found = [one for one in traced("shadow", build).allocations if "backward" in one.op]
    assert [num_bytes] == [one.requested_bytes for one in found]


def test_a_factorization_by_reflectors_is_as_large_as_what_it_is_made_of():
    """A factor for each column, or row where there are fewer; its workspace is named."""

    def build(sizes, device):
        matrices = torch.ones(2, sizes["n"], 3, device=device)
        return lambda: torch.geqrf(matrices)

    traces = [traced("shadow", build, num_rows) for num_rows in (2, 4)]
    found = [[one.requested_bytes for one in trace.allocations] for trace in traces]
    assert [[2 * 2 * 3 * 4, 2 * 2 * 4], [2 * 4 * 3 * 4, 2 * 3 * 4]] == found
    assert [["aten::geqrf"]] * 2 == [[one.op for one in trace.unseen] for trace in traces]


def test_such_a_gradient_is_proved():
    """Sizes that are symbols take the same way."""
    found = [one for one in traced("prove", margin).allocations if "backward" in one.op]
    assert ["32*n"] == [str(one.requested) for one in found]


@pytest.mark.parametrize("lane", ["shadow", "prove"])
def test_an_operator_that_cannot_be_run_backwards_is_a_refusal(lane, monkeypatch):
    """With its name; the process lives. The sizes are such that no test's result is known."""
    monkeypatch.delitem(MADE_HERE, "aten::multi_margin_loss_backward")
    with pytest.raises(LaneError, match=NO_KERNEL):
        traced(lane, margin, 5)


def test_a_refusal_that_the_code_catches_is_a_refusal_all_the_same(monkeypatch):
    """What came after it did not run as it would on a GPU."""
    monkeypatch.delitem(MADE_HERE, "aten::multi_margin_loss_backward")

    def caught(sizes, device):
        call = margin(sizes, device)

        def inner():
            with contextlib.suppress(RuntimeError):
                call()

        return inner

    with pytest.raises(LaneError, match=NO_KERNEL):
        traced("shadow", caught, 6)


def test_an_error_in_the_codes_own_backward_is_the_codes_own():
    """It may catch what it raises."""

    class Mine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            try:
                return grad @ grad.new_empty(7, 7)
            except RuntimeError:
                return grad * 2

    def build(sizes, device):
        x = torch.empty(sizes["n"], 8, device=device, requires_grad=True)
        return lambda: Mine.apply(x).sum().backward()

    assert "aten::mul.Tensor" == traced("shadow", build).allocations[-1].op


def softmax(sizes, device):
    x = torch.empty(sizes["n"], 8, device=device, requires_grad=True)
    return lambda: F.softmax(x, 1).sum().backward()


def test_a_lane_by_itself_counts_a_backward_pass_once():
    """What a kernel takes inside as well, with the line that asked for it."""
    lane = ShadowLane(HERE, "cuda:sm_90", "cuda:sm_90")
    found = [one for one in lane.run(softmax, {"n": 4}).allocations if "backward" in one.op]
    assert [128, 128] == [one.requested_bytes for one in found]
    assert {"<lambda>"} == {one.stack[0].function for one in found}


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_keep_random_state(use_reentrant):
    """What they compute again is drawn again from the state that they kept."""

    def build(sizes, device):
        layer = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5)).to(device)
        x = torch.empty(sizes["n"], 8, device=device, requires_grad=True)
        return lambda: checkpoint(layer, x, use_reentrant=use_reentrant).sum().backward()

    ops = [one.op for one in traced("shadow", build).allocations]
    assert 4 == ops.count("aten::native_dropout")


def test_random_state_is_forked_and_takes_nothing_on_the_device():
    """On a GPU the state comes to the host."""

    def build(sizes, device):
        x = torch.empty(sizes["n"], 8, device=device)

        def call():
            with torch.random.fork_rng(device_type=device.type):
                torch.manual_seed(1)
                return x * 2

        return call

    assert [128] == [one.requested_bytes for one in traced("shadow", build).allocations]


@pytest.mark.parametrize("function", [F.silu, F.mish], ids=["silu", "mish"])
@pytest.mark.parametrize("target", ["cuda:sm_90", "rocm:gfx942", "generic"])
def test_a_gpus_one_kernel_is_not_taken_apart_where_torch_was_built_without_gpus(function, target):
    """The result, its sum, the sum's gradient and that of the input: nothing between."""

    def build(sizes, device):
        x = torch.zeros(sizes["n"], device=device, requires_grad=True)
        return lambda: function(x).sum().backward()

    lane = RunningLane(LaneSpec("shadow", target=target), HERE)
    trace = lane.run(build, {"n": 1024})
    assert [4096, 4, 4, 4096] == [each.requested_bytes for each in trace.allocations]
