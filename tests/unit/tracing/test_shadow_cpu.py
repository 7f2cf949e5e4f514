"""The CPU's own prediction: the same requests that the CPU makes, not those of a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lane_traces import trace_in

from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent


def attention(x):
    return F.scaled_dot_product_attention(x, x, x)


def training(x):
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.5, batch_first=True)
    layer.to(x.device)(x[0]).sum().backward()


BODIES = {
    "attention": attention,
    "attention-with-a-mask": lambda x: F.scaled_dot_product_attention(
        x, x, x, attn_mask=x.new_ones(8, 8, dtype=torch.bool)
    ),
    "dropout": lambda x: F.dropout(x, 0.5),
    "training": training,
    "literals": lambda x: x[..., torch.tensor([1, 2], device=x.device)] + torch.ones(2),
    "distinct-values": lambda x: torch.unique(torch.arange(8, device=x.device) % 3).float(),
    "masks": lambda x: x[0, 0][torch.arange(8, device=x.device) > 2],
    "read-values": lambda x: x[..., : int(torch.arange(8, device=x.device).max())].clone(),
}


def inputs(device):
    """One tensor of floats, [2, 4, 8, 16]."""
    return (torch.ones(2, 4, 8, 16, device=device),)


def on_cpu(body, make=inputs):
    """The trace of a call that the CPU's own prediction gives."""

    def build(sizes, device):
        made = make(device)
        return lambda: body(*made)

    return ShadowLane(HERE, target="cpu").run(build, {})


def shown(trace):
    """Requests with their operators, events, and bytes of the inputs."""
    requests = [(each.requested_bytes, each.op) for each in trace.allocations]
    return requests, trace.events, trace.input_bytes


@pytest.mark.parametrize("name", BODIES)
def test_the_prediction_for_a_cpu_is_what_a_cpu_requests(name):
    """Request by request: fused attention, dropout, a training step, literals, index data."""
    assert shown(trace_in("measure", BODIES[name], inputs)) == shown(on_cpu(BODIES[name]))


@pytest.mark.parametrize("name", ["attention", "dropout"])
def test_a_gpus_prediction_is_another(name):
    """Or there would be no need for one of the CPU's own."""
    other = trace_in("shadow", BODIES[name], inputs)
    assert shown(on_cpu(BODIES[name]))[0] != shown(other)[0]


def test_code_sees_that_it_is_on_a_cpu():
    """Its branch for a CPU is entered."""
    said = []
    on_cpu(lambda x: said.append((x.device.type, x.is_cpu, x.is_cuda)))
    assert [("cpu", True, False)] == said


@pytest.mark.parametrize("lane", ["shadow", "cpu"])
def test_a_module_is_converted_as_often_as_one_likes(lane):
    """Nobody holds a weak reference on a parameter, also where torch has made it for the first
    time: sizes that no other test has.
    """

    def body():
        model = torch.nn.Linear(37, 41, device="cpu")
        for dtype in (torch.bfloat16, torch.float64, torch.float16, torch.float32):
            model.to(device).to(dtype)
        return model.weight.dtype

    def run(where):
        nonlocal device
        device = where
        return ()

    device = None
    said = []
    call = lambda: said.append(body())  # noqa: E731
    trace_in("shadow", call, run) if lane == "shadow" else on_cpu(call, run)
    assert [torch.float32] == said
