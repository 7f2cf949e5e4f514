"""Gradients that fakes make otherwise: by zeros among the entries, and by one kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from oom_suite.torch_compat.dispatch import WITH_GRADIENT, has_kernel
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


def test_this_torch_has_the_gradient_of_a_product_where_it_is_looked_for():
    """Without that kernel it would crash."""
    for name in ("prod", "prod.dim_int"):
        assert has_kernel(f"aten::{name}", WITH_GRADIENT)


@pytest.mark.parametrize("dim", [None, 0, 1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_a_products_gradient_is_seen_by_the_formula_for_zeros(dim, keepdim):
    """Running products from both ends, each with what it is made of, their product and that."""
    args = () if dim is None else (dim, keepdim)
    trace = trace_of(lambda x: x.prod(*args).sum().backward())
    assert [("aten::prod", True)] == [(each.op, each.is_bounded) for each in trace.unseen]
    assert 6 * 4 * 4 * N < trace.peak().num_bytes < 8 * 4 * 4 * N


def test_with_one_zero_it_is_what_an_h200_took():
    """Source: docs/evidence/2026-11-27-h200-conformance.json.gz, ``prod`` of 16,777,216 float32."""

    def build(_sizes, device):
        x = torch.rand(4, 4_194_304, device=device, requires_grad=True)
        return lambda: x.prod().sum().backward()

    with torch.autograd.set_multithreading_enabled(False):
        trace = ShadowLane(Path.cwd(), "cuda:sm_90", "cuda:sm_90").run(build, {})
    assert 402_653_212 == trace.peak().num_bytes


def test_where_every_entry_is_zero_all_are_listed():
    """Two places of 8 bytes for each entry, and a gradient of 2."""
    trace = trace_of(lambda x: x.prod().backward(), dtype=torch.bfloat16)
    assert 4 * N * (2 * 8 + 2) + 2 * 2 == trace.peak().num_bytes


def test_a_product_without_a_gradient_takes_what_it_took():
    found = trace_of(lambda x: x.prod(), requires_grad=False)
    assert () == found.unseen
    with torch.no_grad():
        again = trace_of(lambda x: x.prod())
    assert (4, ()) == (again.allocations[0].requested_bytes, again.unseen)
    one = trace_of(lambda x: x[0, 0].prod().backward())
    assert ["aten::prod"] == [each.op for each in one.unseen]


@pytest.mark.parametrize("dim", [None, 1])
@pytest.mark.parametrize("where", [(), ((0, 0),), ((0, 0), (1, 2))], ids=["none", "one", "two"])
def test_a_products_gradient_has_the_values_that_torch_gives(dim, where):
    """On real entries torch runs as ever, whatever was replaced for fakes."""
    trace_of(lambda x: x.prod().backward())
    x = torch.rand(3, 4, dtype=torch.float64) + 1
    for place in where:
        x[place] = 0.0
    x.requires_grad_()
    (x.prod() if dim is None else x.prod(dim)).sum().backward()
    rows = [x.detach()] if dim is None else x.detach().unbind()
    expected = [
        torch.stack([torch.cat([row.flatten()[:i], row.flatten()[i + 1 :]]).prod()
                     for i in range(row.numel())])
        for row in rows
    ]  # fmt: skip
    assert torch.allclose(torch.cat(expected).view(3, 4), x.grad)


@pytest.mark.parametrize("function", [F.silu, F.mish], ids=["silu", "mish"])
def test_the_gradient_of_an_activation_is_one_tensor(function):
    """What came out is gone by then; ones and a sum are 4 bytes each."""
    trace = trace_of(lambda x: function(x).sum().backward())
    assert 4 * N * 4 + 2 * 4 == trace.peak().num_bytes


def test_a_second_gradient_of_one_is_composed():
    def call(x):
        torch.autograd.grad(F.silu(x).sum(), x, create_graph=True)

    assert "aten::sigmoid" in {each.op for each in trace_of(call).allocations}
