"""Code in inference mode is seen as far as code without gradients, though torch hides its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lane_traces import trace_in

from fixtures.torch_versions import since_2_13
from oom_suite.doors import workload as find_workload
from oom_suite.records import Verdict
from oom_suite.records.symbolic import Hints
from oom_suite.safety.capture import Capture
from oom_suite.safety.guarded import PoisonedMemory
from oom_suite.safety.poison import NAN
from oom_suite.safety.steps import Target
from oom_suite.tracing.prove import ProveLane
from oom_suite.workloads.sparse_mla.builtins import BUILTINS

HERE = Path(__file__).parent

BODIES = {
    "reshape-that-copies": lambda x, w: x.reshape(-1).add(1),
    "einsum": lambda x, w: torch.einsum("bnk,kd->bnd", x, w),
    "cross-entropy": lambda x, w: F.cross_entropy(x.reshape(-1, 64), x.new_zeros(32).long()),
    "layer-norm": lambda x, w: F.layer_norm(x, (64,)),
    "attention": lambda x, w: F.scaled_dot_product_attention(x, x, x),
    "linear": lambda x, w: F.linear(x, w.t()),
    "matrix-product": lambda x, w: x @ w,
    "kronecker": lambda x, w: torch.kron(w, w[:2, :2]),
    "contiguous": lambda x, w: x.contiguous(),
    "view": lambda x, w: x.flatten().unflatten(0, (4, -1)),
    "distances": lambda x, w: torch.cdist(w, w),
}


def inputs(device, batch=4):
    """Floats [batch, 8, 64] that are not contiguous, and [64, 16]."""
    x = torch.empty(batch, 64, 8, device=device).transpose(1, 2)
    return x, torch.empty(64, 16, device=device)


def in_mode(around, body):
    def call(*args):
        with around():
            return body(*args)

    return call


def shown(trace):
    """Requests, frees and what is flagged, without lines."""
    requests = [(one.requested_bytes, one.op) for one in trace.allocations]
    return requests, trace.events, {one.op for one in trace.unseen}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("lane", ["shadow", "measure"])
def test_what_is_made_of_parts_shows_them(lane, name):
    """The same requests as without gradients, in the same order."""
    plain, inference = (
        shown(trace_in(lane, in_mode(around, BODIES[name]), inputs))
        for around in (torch.no_grad, torch.inference_mode)
    )
    assert plain == inference


def test_a_copy_inside_is_in_the_trace():
    """A transposed tensor is copied by ``reshape``: 8,192 bytes, and the sum takes as many."""
    trace = trace_in("shadow", in_mode(torch.inference_mode, BODIES["reshape-that-copies"]), inputs)
    assert [8192, 8192] == [one.requested_bytes for one in trace.allocations]


@pytest.mark.parametrize(
    "name",
    ["reshape-that-copies", "einsum", "layer-norm", pytest.param("linear", marks=since_2_13)],
)
def test_a_proof_has_the_parts_too(name):
    def build(around):
        def built(sizes, device):
            args = inputs(device, sizes["batch"])
            return lambda: in_mode(around, BODIES[name])(*args)

        return built

    plain, inference = (
        ProveLane(HERE).run(build(around), Hints({"batch": 4}))
        for around in (torch.no_grad, torch.inference_mode)
    )
    assert [str(one.requested) for one in plain.allocations] == [
        str(one.requested) for one in inference.allocations
    ]


def test_a_value_read_in_inference_mode_is_a_host_read():
    def whole(device):
        return (torch.zeros(4, dtype=torch.int64, device=device),)

    reads = in_mode(torch.inference_mode, lambda indices: int(indices[0]))
    (frame,) = trace_in("shadow", reads, whole).host_reads
    assert "test_inference_mode.py" == frame.file


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        pytest.param(lambda step: step["swa_lens"].max().item(), Verdict.FAIL, id="item"),
        pytest.param(lambda step: step["q"].reshape(-1), Verdict.PASS, id="reshape"),
    ],
)
def test_a_capture_is_refused_for_what_is_inside(body, verdict):
    def call(**step):
        with torch.inference_mode():
            body(step)
        BUILTINS["token_gather"](**step)

    target = Target(call, HERE, find_workload("decode"), torch.device("cpu"))
    assert verdict is Capture()(target).verdict


def test_memory_inside_is_poisoned():
    """What an operator's parts leave unwritten is filled, as it is without gradients."""
    found = []
    for around in (torch.no_grad, torch.inference_mode):
        with PoisonedMemory(NAN, lambda: ()) as mode, around():
            torch.dropout(torch.ones(3, 2), 0.5, train=True)
        found.append(len(mode.lines))
    assert [1, 1] == found
