"""Layer norm, RMS norm and group norm are those of the target: the requests that a device made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from oom_suite.operators.attention import Device
from oom_suite.operators.norm_steps import num_parts
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.tracing.lanes import RunningLane

HERE = Path(__file__).parent
CALLS = json.loads((HERE / "h200_norms.json").read_text("utf-8"))["calls"]
H200 = Device("cuda", (9, 0), 132, 91_900)
MI300 = Device("rocm", (9, 4), 304, 0)

NORMS = {
    "layer_norm": lambda x, weight, bias: F.layer_norm(x, x.shape[1:], weight, bias),
    "rms_norm": lambda x, weight, bias: F.rms_norm(x, x.shape[1:], weight),
    "group_norm": lambda x, weight, bias: F.group_norm(x, 4, weight, bias),
}


def built(norm, shape, dtype, *, expanded=False, turned=False):
    """A training step of a norm; `expanded` where its gradient is one number, seen many times."""

    def build(sizes, device):
        size = [sizes.get("n", dim) if dim == "n" else dim for dim in shape]
        x = torch.zeros(size[::-1] if turned else size, device=device, dtype=dtype)
        x = (x.t() if turned else x).requires_grad_()
        weight, bias = (
            torch.ones(shape[1], device=device, dtype=dtype, requires_grad=True) for _ in range(2)
        )

        def run():
            out = NORMS[norm](x, weight, bias)
            out.backward(out.new_empty(()).expand_as(out) if expanded else torch.empty_like(out))

        return run

    return build


def traced(build, target="cuda:sm_90"):
    return RunningLane(LaneSpec("shadow", target=target), HERE).run(build, {})


def sizes_of(trace):
    return [each.requested_bytes for each in trace.allocations]


def without_scratch(events):
    """A call's events without the scratch of the sum of the parts, which is that sum's own.

    It is freed by the event but one after it, with its semaphores of 4 or 8 bytes.
    """
    kept, at = [], 0
    while at < len(events):
        scratch = events[at : at + 4]
        if len(scratch) == 4 and scratch[1] in {4, 8} and scratch[2] == -scratch[1]:
            at += 4
            continue
        kept.append(events[at])
        at += 1
    return kept


def peak_of(events):
    total = most = 0
    for each in events:
        total += each
        most = max(most, total)
    return most


@pytest.mark.parametrize(
    "call", CALLS, ids=lambda c: f"{c['norm']}-{c['dtype']}-{'x'.join(map(str, c['sizes']))}"
)
def test_the_requests_are_those_that_a_device_made(call):
    """Request by request, and at the peak, forward and backward."""
    trace = traced(built(call["norm"], call["sizes"], getattr(torch, call["dtype"])))
    events = without_scratch(call["events"])
    assert [each for each in events if each > 0] == sizes_of(trace)
    assert peak_of(events) == trace.peak().num_bytes


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
def test_a_gradient_that_is_not_contiguous_is_copied(norm):
    """As that of a sum is: one number for all."""
    found = sizes_of(traced(built(norm, (32, 64), torch.float32, expanded=True)))
    plain = sizes_of(traced(built(norm, (32, 64), torch.float32)))
    assert 32 * 64 * 4 == sum(found) - (sum(plain) - 32 * 64 * 4 + 4)


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
def test_an_input_that_is_not_contiguous_is_copied(norm):
    """Once in each direction."""
    trace = traced(built(norm, (32, 64), torch.float32, turned=True))
    plain = traced(built(norm, (32, 64), torch.float32))
    assert 2 * 32 * 64 * 4 <= sum(sizes_of(trace)) - sum(sizes_of(plain))


@pytest.mark.parametrize(
    ("expected", "rows", "columns", "device"),
    [
        (0, 65536, 64, H200),
        (2049, 65537, 64, H200),
        (0, 70000, 66 * 32, H200),
        (496, 70000, 66 * 32 - 1, H200),
        (2188, 70000, 64, H200),
        (2188, 70000, 64, MI300),
    ],
)
def test_rows_are_summed_in_parts_where_they_are_many_and_columns_few(
    expected, rows, columns, device
):
    """More than 65,536 rows, and fewer blocks of columns than half the multiprocessors."""
    assert expected == num_parts(rows, columns, device)


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
def test_the_proof_says_the_same(norm):
    """Formulas in the number of rows, equal to the exact run's bytes one by one."""
    build = built(norm, ("n", 64), torch.float32)
    proved = RunningLane(LaneSpec("prove", target="cuda:sm_90"), HERE).prove(
        build, Hints({"n": 48})
    )
    exact = RunningLane(LaneSpec("shadow", target="cuda:sm_90"), HERE).run(build, {"n": 48})
    found = [int(each.requested({"n": 48})) for each in proved.allocations]
    assert sizes_of(exact) == found


def test_types_that_differ_take_the_composition():
    """A float32 weight on a bfloat16 input: torch has no kernel for both."""

    def build(sizes, device):
        x = torch.zeros(32, 64, device=device, dtype=torch.bfloat16)
        weight = torch.ones(64, device=device)
        return lambda: F.rms_norm(x, (64,), weight)

    assert len(sizes_of(traced(build))) > 2


def test_the_generic_target_keeps_the_composition():
    """Its figures do not change."""
    build = built("rms_norm", (32, 64), torch.float32)
    assert len(sizes_of(traced(build, "generic"))) > len(sizes_of(traced(build)))
