"""Gradients that fakes make otherwise: by zeros among the entries, and by one kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from oom_suite.tracing.shadow import ShadowLane

N = 1000


def trace_of(call, target="cuda:sm_90", *, requires_grad=True, dtype=torch.float32):
    def build(_sizes, device):
        x = torch.rand(4, N, device=device, dtype=dtype, requires_grad=requires_grad)
        return lambda: call(x)

    # As lanes run: on the thread that asks for the gradients.
    with torch.autograd.set_multithreading_enabled(False):
        return ShadowLane(Path.cwd(), target, target).run(build, {})


def trained(x):
    x.cumprod(-1).sum().backward()


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_a_running_product_takes_the_most_where_nearly_all_comes_before_a_zero(dtype, width):
    """Alive at once: what came out, its weighted gradient, zeros, their number, two masks, the
    result, what is summed and the sums, two positions for each entry, and the entries."""
    entries = 4 * N
    most = 6 * width + 1 + 8 + 2 + 16
    trace = trace_of(trained, dtype=dtype)
    assert entries * most + 2 * width == trace.peak().num_bytes
    assert [("aten::cumprod", True)] == [(each.op, each.is_bounded) for each in trace.unseen]


def test_its_gradient_is_made_in_a_few_steps_however_long_a_row_is():
    assert len(trace_of(trained).allocations) < 40


def test_a_second_gradient_goes_entry_by_entry():
    def call(x):
        torch.autograd.grad(x[:, :3].cumprod(-1).sum(), x, create_graph=True)

    ops = [each.op for each in trace_of(call).allocations]
    assert "aten::masked_fill" not in {op.partition(".")[0] for op in ops}


def test_without_a_gradient_nothing_depends_on_zeros():
    assert () == trace_of(lambda x: x.cumprod(-1), requires_grad=False).unseen
    with torch.no_grad():
        assert () == trace_of(lambda x: x.cumprod(-1)).unseen


def test_a_products_gradient_is_named():
    found = trace_of(lambda x: x.prod().backward()).unseen
    assert ("aten::prod", False) == (found[0].op, found[0].is_bounded)
    assert () == trace_of(lambda x: x.prod(), requires_grad=False).unseen


@pytest.mark.parametrize("function", [F.silu, F.mish], ids=["silu", "mish"])
def test_the_gradient_of_an_activation_is_one_tensor(function):
    """What came out is gone by then; ones and a sum are 4 bytes each."""
    trace = trace_of(lambda x: function(x).sum().backward())
    assert 4 * N * 4 + 2 * 4 == trace.peak().num_bytes


def test_a_second_gradient_of_one_is_composed():
    def call(x):
        torch.autograd.grad(F.silu(x).sum(), x, create_graph=True)

    assert "aten::sigmoid" in {each.op for each in trace_of(call).allocations}
