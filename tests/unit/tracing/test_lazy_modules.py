"""Lazy modules, whose parameters get their shape in the first call, on a GPU that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.parameter import UninitializedParameter

from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
CUDA = torch.device("cuda", 0)


def called(make, *size, lane=ShadowLane):
    """The module after its first call, and the call's requests."""
    kept = []

    def build(sizes, device):
        module, x = make(device), torch.empty(size, device=device)
        kept.append(module)
        return lambda: module(x)

    trace = lane(HERE, target="cuda:sm_90").run(build, Hints({}) if lane is ProveLane else {})
    return kept[0], trace


def bytes_of(allocation):
    """The request, a number or an expression."""
    exact = getattr(allocation, "requested_bytes", None)
    return exact or allocation.requested({})


MAKERS = {
    "on the device": lambda device: torch.nn.LazyLinear(4, device=device),
    "moved": lambda device: torch.nn.LazyLinear(4).to(device),
    "moved by a keyword": lambda device: torch.nn.LazyLinear(4).to(device=device),
    "cuda()": lambda device: torch.nn.LazyLinear(4).cuda(),
}


@pytest.mark.parametrize("lane", [ShadowLane, ProveLane], ids=["shadow", "prove"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_parameters_are_made_in_the_first_call(make, lane):
    module, trace = called(make, 2, 3, lane=lane)
    assert {(4, 3), (4,)} == {tuple(each.shape) for each in module.parameters()}
    assert all(isinstance(each, torch.nn.Parameter) for each in module.parameters())
    assert all(each.requires_grad and each.device == CUDA for each in module.parameters())
    made = [int(bytes_of(each)) for each in trace.allocations if "empty" in each.op]
    assert [4 * 3 * 4, 4 * 4] == made


def test_a_module_of_another_type_has_parameters_of_it():
    module, _ = called(lambda device: torch.nn.LazyLinear(4).to(device).half().float(), 2, 3)
    assert torch.float32 is module.weight.dtype
    wide = {"dtype": torch.float64}
    module, _ = called(lambda device: torch.nn.LazyLinear(4, **wide).float().to(device), 2, 3)
    assert torch.float32 is module.weight.dtype


def test_buffers_are_made_as_parameters_are():
    module, _ = called(lambda device: torch.nn.LazyBatchNorm1d(device=device), 2, 3, 4)
    assert (3,) == tuple(module.running_mean.shape)
    assert not isinstance(module.running_mean, torch.nn.Parameter)


def test_a_training_step_has_gradients():
    def step(device):
        module = torch.nn.LazyLinear(4, device=device)
        return lambda x: module(x).sum().backward()

    _, trace = called(step, 2, 3)
    assert 4 * 3 * 4 in [each.requested_bytes for each in trace.allocations]


def test_outside_a_lane_a_lazy_module_is_torchs_own():
    called(MAKERS["moved"], 2, 3)
    before = torch.nn.LazyLinear(4)
    assert isinstance(before.weight, UninitializedParameter)
    before(torch.ones(2, 3))
    assert (4, 3) == tuple(before.weight.shape)
    with pytest.raises(ValueError, match="uninitialized parameter"):
        torch.add(torch.nn.LazyLinear(4).weight, 1)


def test_an_operator_on_a_parameter_without_a_shape_is_refused_as_on_a_gpu():
    def use(device):
        module = torch.nn.LazyLinear(4, device=device)
        return lambda x: module.weight + x

    with pytest.raises(ValueError, match="uninitialized parameter"):
        called(use, 2, 3)
