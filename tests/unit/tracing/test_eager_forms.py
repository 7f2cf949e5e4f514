"""Operators in the form that eager code calls: as many tensors as it makes, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.autograd.profiler import profile
from torch.nn import functional as F

from oom_suite.tracing import eager_forms
from oom_suite.tracing.eager_forms import eager_form
from oom_suite.tracing.measure import MeasureLane
from oom_suite.tracing.shadow import ShadowLane

N = 16
HELD = []
aten = torch.ops.aten


def leaf(device):
    return torch.rand(4, N, device=device).requires_grad_()


def same_factors(x):
    (x * x).sum().backward()


def three_ways(x):
    torch.addcmul(x, x, x).sum().backward()


def residual(x):
    h = x.exp()
    (h + h.sin() * h).sum().backward()


def sum_is_spread_out(x):
    (x.sum() + x.exp().sum()).backward()


def part_of_more(x):
    h = x.exp()
    (torch.cat([h, h]).sin() * 2).sum().backward()


def graph_is_kept(x):
    torch.autograd.grad((x.exp() * x.sin()).sum(), x, create_graph=True)


def step_adds_itself(x):
    deviation, mean = torch.std_mean(x.exp(), -1)
    (deviation.sum() + mean.sum()).backward()


def step_adds_a_number(x):
    h = x.exp()
    torch.logaddexp(h, h).sum().backward()


class Adds(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x + x.sin()


def code_adds_itself(x):
    h = x.exp()
    (Adds.apply(h) * h).sum().backward()


def hook_adds(x):
    h = x.exp()
    h.register_hook(lambda grad: (grad * 2) + (grad * 3))
    (h * h).sum().backward()


def hook_holds(x):
    h = x.exp()
    a, b = h.sin(), h.cos()
    a.register_hook(HELD.append)
    (a * 1.0 + b).sum().backward()
    HELD.clear()


SUMS = (
    same_factors,
    three_ways,
    residual,
    sum_is_spread_out,
    part_of_more,
    graph_is_kept,
    step_adds_itself,
    step_adds_a_number,
    code_adds_itself,
    hook_adds,
    hook_holds,
)


def eager_count(call, name):
    with profile() as profiled:
        call(leaf("cpu"))
    return sum(event.name == name for event in profiled.function_events)


def requests(call, lane):
    # As lanes run: on the thread that asks for the gradients.
    with torch.autograd.set_multithreading_enabled(False):
        trace = lane.run(lambda _sizes, device: _bound(call, leaf(device)), {})
    return [each.op.split(".")[0] for each in trace.allocations]


def _bound(call, x):
    return lambda: call(x)


@pytest.mark.parametrize("call", SUMS, ids=lambda call: call.__name__)
@pytest.mark.parametrize("target", ["cpu", "cuda:sm_90", "generic"])
def test_gradients_are_added_into_new_tensors_as_often_as_in_eager_code(call, target):
    lane = ShadowLane(Path.cwd(), target=target)
    assert eager_count(call, "aten::add") == requests(call, lane).count("aten::add")


@pytest.mark.parametrize("call", SUMS, ids=lambda call: call.__name__)
def test_so_they_are_on_a_cpu_that_is_measured(call):
    lane = MeasureLane(Path.cwd(), "cpu")
    assert eager_count(call, "aten::add") == requests(call, lane).count("aten::add")


def ints(x):
    return torch.zeros(x.shape, dtype=torch.int64, device=x.device)


STEPS = {
    "gather": (lambda x: x.gather(-1, ints(x)), "aten::scatter_add"),
    "cummax": (lambda x: x.cummax(-1).values, "aten::scatter_add"),
    "cummin": (lambda x: x.cummin(-1).values, "aten::scatter_add"),
    "sort": (lambda x: x.sort(-1).values, "aten::scatter"),
    "stable sort": (lambda x: x.sort(stable=True).values, "aten::scatter"),
    "topk": (lambda x: x.topk(2).values, "aten::scatter"),
    "kthvalue": (lambda x: x.kthvalue(2).values, "aten::scatter"),
    "mode": (lambda x: x.mode().values, "aten::scatter"),
    "median of rows": (lambda x: x.median(-1).values, "aten::scatter"),
    "nanmedian of rows": (lambda x: x.nanmedian(-1).values, "aten::scatter"),
    "max of rows": (lambda x: x.max(-1).values, "aten::scatter"),
    "min of rows": (lambda x: x.min(-1).values, "aten::scatter"),
    "scatter": (lambda x: x.scatter(-1, ints(x), x.detach()), "aten::scatter"),
    "scatter_reduce": (
        lambda x: x.scatter_reduce(-1, ints(x), x, "mean"),
        "aten::scatter_add",
    ),
    "index_select": (lambda x: x.index_select(0, ints(x)[:, 0]), "aten::index_add"),
    "index": (lambda x: x[ints(x)[:, 0]], "aten::index_put"),
    "masked_select": (
        lambda x: x.masked_select(torch.ones_like(x, dtype=torch.bool)),
        "aten::masked_scatter",
    ),
    "entropy": (
        lambda x: F.binary_cross_entropy_with_logits(x, x.detach(), x.detach()),
        "aten::mul",
    ),
    "entropy, weighted": (
        lambda x: F.binary_cross_entropy_with_logits(x, x.detach(), pos_weight=x[0].detach()),
        "aten::mul",
    ),
    "entropy of a target": (
        lambda x: F.binary_cross_entropy(x.detach(), x, x.detach()),
        "aten::mul",
    ),
}


def step(name):
    return lambda x: STEPS[name][0](x).sum().backward()


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_a_backward_pass_makes_as_many_tensors_as_in_eager_code(name):
    """Counted by one operator, which some steps call in place and others out of place."""
    call, op = step(name), STEPS[name][1]
    lane = ShadowLane(Path.cwd(), target="cpu")
    assert eager_count(call, op) == requests(call, lane).count(op)


def test_a_clamp_to_tensors_makes_one_mask_of_two_in_place():
    def call(x):
        x.clamp(x.detach(), x.detach() + 1).sum().backward()

    ops = requests(call, ShadowLane(Path.cwd(), target="cpu"))
    assert (1, 0) == (eager_count(call, "aten::logical_and_"), ops.count("aten::logical_and"))


def test_on_a_gpu_a_maximum_shares_its_gradient_by_masks_that_are_written_in_place():
    ops = requests(lambda x: x.max().backward(), ShadowLane(Path.cwd(), target="cuda:sm_90"))
    assert [] == [op for op in ops if op.startswith("aten::logical")]


def test_a_mask_is_added_to_scores_in_place():
    def attend(x):
        mask = torch.zeros(4, 4, device=x.device)
        with torch.no_grad():
            F.scaled_dot_product_attention(x[None], x[None], x[None], attn_mask=mask)

    ops = requests(attend, ShadowLane(Path.cwd(), target="cuda:sm_90"))
    assert [] == [op for op in ops if op == "aten::add"]


def test_outside_of_a_backward_pass_every_operator_is_what_was_called():
    x = torch.ones(2)
    assert aten.add.Tensor is eager_form(aten.add.Tensor, (x, x), int.__eq__)
    assert aten.scatter.src is eager_form(aten.scatter.src, (x, 0, x, x), int.__eq__)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((torch.ones(2, 3), torch.ones(3)), True),
        ((torch.ones(3), torch.ones(2, 3)), False),
        ((torch.ones(2), 2), False),
        ((2, torch.ones(2)), False),
    ],
    ids=["a mask", "what is larger", "a number", "to a number"],
)
def test_of_the_scores_of_attention_a_mask_alone_is_added_in_place(args, expected):
    token = eager_forms._in_math_attention.set(True)
    try:
        assert expected is eager_forms._adds_in_place(args, lambda one, other: one == other)
    finally:
        eager_forms._in_math_attention.reset(token)
