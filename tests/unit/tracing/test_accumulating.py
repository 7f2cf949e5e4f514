"""Sums of gradients: in the memory of the one that autograd alone holds, and anew elsewhere."""

from __future__ import annotations

import pytest
import torch

from oom_suite.torch_compat.autograd import node_number
from oom_suite.tracing.accumulating import references_of_a_temporary
from tests.unit.tracing.lane_traces import trace_in

SIZE = 256
BYTES = SIZE * 4


def sums(body, lane="shadow"):
    """Bytes of the sums that a backward pass asks memory for."""
    trace = trace_in(lane, body, lambda device: [torch.ones(SIZE, device=device)])
    return [each.requested_bytes for each in trace.allocations if each.op == "aten::add.Tensor"]


def leaf(x):
    return x.requires_grad_() * 1


@pytest.mark.parametrize("lane", ["shadow", "measure"])
def test_the_engine_adds_to_the_gradient_that_it_alone_holds(lane):
    def body(x):
        h = leaf(x)
        torch.mul(h.exp(), h.sin()).sum().backward()

    assert [] == sums(body, lane)


@pytest.mark.parametrize("lane", ["shadow", "measure"])
def test_a_gradient_that_the_code_keeps_is_left_as_it_is(lane):
    def added(keep):
        def body(x):
            h = leaf(x)
            both = h + h.exp()
            both.register_hook(keep)
            (both * x.detach()).sum().backward()

        return sums(body, lane)

    kept = []
    # The forward pass's own; and that of the kept gradient with the exponential's.
    assert [BYTES, BYTES] == added(kept.append)
    assert [BYTES] == added(lambda _: None)


def test_a_gradient_that_has_no_memory_of_its_own_is_summed_anew():
    """That of a sum is one number, expanded."""

    def body(x):
        h = leaf(x)
        torch.add(h, h.exp(), alpha=1.0).sum().backward()

    def own(x):
        h = leaf(x)
        (torch.sub(h, h.exp()) * x).sum().backward()

    assert [BYTES, BYTES] == sums(body)
    assert [] == sums(own)


def test_a_sum_that_the_code_makes_in_its_own_backward_pass_is_anew():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 1 + grad * 1

    assert [BYTES] == sums(lambda x: (Twice.apply(leaf(x)) * x).sum().backward())


def test_a_sum_with_gradients_of_its_own_is_anew():
    def body(x, *, create_graph):
        h = leaf(x)
        torch.autograd.grad(torch.mul(h.exp(), h.sin()).sum(), x, create_graph=create_graph)

    assert [BYTES] == sums(lambda x: body(x, create_graph=True))
    assert [] == sums(lambda x: body(x, create_graph=False))


def test_a_sum_in_the_forward_pass_is_anew():
    with torch.no_grad():
        assert [BYTES] == sums(lambda x: x.exp() + x.sin())


def test_values_are_those_without_a_recorder():
    def gradient(x):
        h = leaf(x)
        torch.mul(h.exp(), h.sin()).sum().backward()
        return x.grad

    seen = []
    sums(lambda x: seen.append(gradient(x)), "measure")
    assert torch.equal(gradient(torch.ones(SIZE)), seen[0])


def test_outside_a_backward_pass_there_is_no_node():
    assert node_number() is None


def test_python_holds_a_temporary_by_its_own_arguments_alone():
    assert references_of_a_temporary() > 0
