"""The CPU's own prediction: the same requests that the CPU makes, not those of a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lane_traces import trace_in

from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove.lane import ProveLane
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent

# Shapes that differ are what one of the losses here is about.
pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")


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
    "losses": lambda x: [
        getattr(F, name)(x.sigmoid(), (x * 0.5).sigmoid(), reduction=reduction)
        for name in ("mse_loss", "smooth_l1_loss", "soft_margin_loss", "binary_cross_entropy")
        for reduction in ("mean", "none")
    ],
    "losses-that-broadcast": lambda x: F.smooth_l1_loss(x, x[:1, :1].double()),
    "one-hot": lambda x: F.one_hot(torch.arange(6, device=x.device), 9),
    "one-hot-of-the-largest": lambda x: F.one_hot(torch.arange(6, device=x.device)),
    "runs-of-equal-values": lambda x: torch.unique_consecutive(
        torch.arange(8, device=x.device) // 3, return_inverse=True, return_counts=True
    ),
    "runs-of-equal-rows": lambda x: torch.unique_consecutive(
        torch.arange(8, device=x.device).view(4, 2) // 4, dim=0
    ),
    "bags": lambda x: [
        F.embedding_bag(
            torch.arange(8, device=x.device).view(2, 4) % 4, weight, mode=mode, padding_idx=index
        )
        for weight in (x[0, 0], x[0, 0].bfloat16(), x[0, 0].bfloat16().t())
        for mode, index in (("sum", None), ("mean", None), ("sum", 0))
    ],
    "bags-with-weights": lambda x: [
        F.embedding_bag(
            torch.arange(8, device=x.device).view(2, 4) % 4,
            x[0, 0].bfloat16(),
            mode="sum",
            per_sample_weights=x[0, 0, :2, :4].bfloat16(),
        )
    ],
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


@pytest.mark.parametrize("name", ["losses", "losses-that-broadcast", "one-hot"])
def test_the_law_of_a_cpu_is_proved_with_what_its_results_keep(name):
    """On symbols as at sizes."""

    def build(sizes, device):
        x = torch.ones(sizes["n"], 4, 8, 16, device=device)
        return lambda: BODIES[name](x)

    run = ProveLane(HERE, target="cpu").run(build, Hints({"n": 6}))
    exact = ShadowLane(HERE, target="cpu").run(build, {"n": 6})
    proved = [int(each.requested({"n": 6})) for each in run.allocations]
    assert [each.requested_bytes for each in exact.allocations] == proved


@pytest.mark.parametrize("target", ["generic", "cuda:sm_90", "rocm:gfx942"])
@pytest.mark.parametrize("is_inference", [False, True])
def test_a_gpu_makes_one_hot_codes_of_zeros_alone(target, is_inference):
    """No range, and no comparison: 6 rows of 9 whole numbers."""

    def build(sizes, device):
        index = torch.zeros(6, dtype=torch.int64, device=device)

        def call():
            with torch.inference_mode(is_inference):
                return F.one_hot(index, 9)

        return call

    trace = ShadowLane(HERE, target=target).run(build, {})
    assert [6 * 9 * 8] == [each.requested_bytes for each in trace.allocations]


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
