"""Attention is that of the target: the same kernel, and the same requests, as a device made."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from fixtures.torch_versions import since_2_13
from oom_suite.operators.attention import Attention, Device, choice
from oom_suite.operators.attention_steps import best_splits
from oom_suite.records.symbolic import Hints
from oom_suite.targets.target import target
from oom_suite.tracing import attending
from oom_suite.tracing.kernels_of import kernels_of
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.tracing.lanes import RunningLane

HERE = Path(__file__).parent
MEASURED = json.loads((HERE / "h200_attention.json").read_text("utf-8"))
CALLS = MEASURED["calls"]
H200 = Device("cuda", (9, 0), 132, MEASURED["cudnn"])
MI300 = Device("rocm", (9, 4), 304, 0)
MATH, FLASH, EFFICIENT, CUDNN = range(4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cuda:sm_90", (True, False, True)),
        ("rocm:gfx942", (False, False, True)),
        ("cpu", (False,) * 3),
    ],
)
def test_what_a_call_of_attention_takes_is_known_on_cuda_but_for_cudnn(name, expected):
    """A softmax of masked rows is composed alike on every device."""
    families = [
        *(f"aten::_scaled_dot_product_{each}_attention" for each in ("flash", "cudnn")),
        "aten::_safe_softmax",
    ]
    found = target(name)
    with attending.kernels_on(found, kernels_of(name)):
        assert expected == tuple(attending.explains(each) for each in families)
    assert not any(attending.explains(each) for each in families)


def inputs(call, device):
    """Query, key, value and mask of a measured call."""
    batch, heads, key_heads, rows, keys, width = call["sizes"]
    dtype, needed = getattr(torch, call["dtype"]), call["gradients"]

    def made(heads, rows):
        if call["by_rows"]:
            x = torch.zeros(batch, rows, heads, width, device=device, dtype=dtype).transpose(1, 2)
        else:
            x = torch.zeros(batch, heads, rows, width, device=device, dtype=dtype)
        return x.requires_grad_(needed)

    mask = None
    if call["mask"] == "bool":
        mask = torch.ones(rows, keys, device=device, dtype=torch.bool)
    elif call["mask"] == "float":
        mask = torch.zeros(batch, 1, rows, keys, device=device, dtype=dtype)
    return made(heads, rows), made(key_heads, keys), made(key_heads, keys), mask


def allowed(call):
    """Around a call: the kernels that it allowed."""
    backend = call["backend"]
    return sdpa_kernel([getattr(SDPBackend, backend)]) if backend else contextlib.nullcontext()


def build(call):
    def built(sizes, device):
        query, key, value, mask = inputs(call, device)

        def run():
            with allowed(call):
                out = F.scaled_dot_product_attention(
                    query,
                    key,
                    value,
                    mask,
                    call["dropout"],
                    call["causal"],
                    enable_gqa=call["sizes"][1] != call["sizes"][2],
                )
            if call["gradients"]:
                out.backward(torch.empty_like(out))
            return out

        return run

    return built


def traced(build, target="cuda:sm_90"):
    return RunningLane(LaneSpec("shadow", target=target), HERE).run(build, {})


def peak_of(events):
    """The largest sum of requests, the frees being negative."""
    total = most = 0
    for each in events:
        total += each
        most = max(most, total)
    return most


def named(call):
    """A readable id."""
    rest = [str(call[key]) for key in ("mask", "dropout", "causal", "backend") if call[key]]
    shape = "x".join(map(str, call["sizes"]))
    words = [call["dtype"], shape, *(["gradients"] * call["gradients"]), *rest]
    return "-".join([*words, *(["rows"] * call["by_rows"])])


@pytest.mark.parametrize("call", CALLS, ids=named)
def test_the_kernel_is_the_one_that_a_device_chose(call):
    """By type, sizes, mask, dropout, order and what the code allows."""
    query, key, value, mask = inputs(call, "meta")
    asked = Attention(
        query, key, value, mask, call["dropout"], call["causal"], key.shape[1] != query.shape[1]
    )
    with allowed(call):
        assert call["choice"] == choice(asked, H200)


def is_cudnns_own(call):
    """What cuDNN alone knows: one row of queries; the gradients of heads that share a key."""
    _, heads, key_heads, rows, *_ = call["sizes"]
    alone = heads != key_heads if call["gradients"] else rows == 1
    return call["choice"] == CUDNN and alone


def is_softmax_backward(call):
    """The math path's backward pass, whose softmax is not attention's."""
    return call["choice"] == MATH and call["gradients"]


EXACT = [call for call in CALLS if not is_cudnns_own(call) and not is_softmax_backward(call)]


@pytest.mark.parametrize("call", EXACT, ids=named)
def test_the_requests_are_those_that_a_device_made(call):
    """Request by request, and at the peak, forward and backward."""
    trace = traced(build(call))
    requested = [each.requested_bytes for each in trace.allocations]
    assert [each for each in call["events"] if each > 0] == requested
    assert peak_of(call["events"]) == trace.peak().num_bytes


@pytest.mark.parametrize("call", [c for c in CALLS if c["choice"] == CUDNN], ids=named)
def test_what_cudnn_takes_besides_is_named(call):
    """It is closed: what it takes for itself has no formula."""
    found = {each.op for each in traced(build(call)).unseen}
    assert "aten::_scaled_dot_product_cudnn_attention" in found


@pytest.mark.parametrize("call", [c for c in EXACT if c["choice"] != CUDNN], ids=named)
def test_what_is_known_whole_is_not_named(call):
    """Neither fused kernels nor the math path, which was chosen."""
    ops = {each.op for each in traced(build(call)).unseen}
    assert not {op for op in ops if "attention" in op or "softmax" in op}


def half(*shape, **changes):
    return torch.empty(shape, dtype=torch.float16, device="meta", **changes)


@pytest.mark.parametrize(
    ("expected", "device", "width", "value_width", "keys"),
    [
        (CUDNN, H200, 256, 256, 64),
        (EFFICIENT, H200, 264, 264, 64),
        (CUDNN, H200, 64, 128, 64),
        (FLASH, H200, 64, 64, 1),
        (FLASH, H200, 60, 60, 64),
        (MATH, H200, 60, 64, 64),
        (FLASH, Device("cuda", (9, 0), 132, 91_500), 64, 64, 64),
        (FLASH, Device("cuda", (8, 0), 108, 91_900), 64, 64, 64),
        (FLASH, Device("cuda", (10, 0), 148, 91_900), 136, 136, 64),
        (FLASH, MI300, 512, 512, 64),
        (MATH, MI300, 520, 520, 64),
        (MATH, MI300, 64, 128, 64),
    ],
)
def test_sizes_at_the_edges_of_kernels(expected, device, width, value_width, keys):
    """The widest head, a head that is no multiple of 8, one key, an older cuDNN, an older GPU."""
    query = half(2, 4, 64, width)
    call = Attention(query, half(2, 4, keys, width), half(2, 4, keys, value_width))
    assert expected == choice(call, device)


def test_on_rocm_float32_is_memory_efficient_up_to_256():
    """AOTriton has no flash attention of float32."""
    made = [torch.empty(2, 4, 64, width, device="meta") for width in (256, 264)]
    assert [EFFICIENT, MATH] == [choice(Attention(x, x, x), MI300) for x in made]


@pytest.mark.parametrize(
    ("expected", "sizes"),
    [(16, (8, 264, 16)), (2, (32, 264, 2)), (1, (200, 264, 1)), (1, (1, 264, 0))],
)
def test_keys_are_split_until_processors_are_busy(expected, sizes):
    """No further than 85 % of the best that can be."""
    assert expected == best_splits(*sizes)


def square(dtype, *, gradients):
    def built(sizes, device):
        shape = (2, 4, sizes["n"], 64)
        x = torch.zeros(shape, device=device, dtype=dtype, requires_grad=gradients)

        def run():
            out = F.scaled_dot_product_attention(x, x, x)
            if gradients:
                out.backward(torch.empty_like(out))
            return out

        return run

    return built


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("target", ["cuda:sm_90", "rocm:gfx942", "generic"])
def test_the_proof_says_the_same(target, dtype, gradients):
    """Formulas in the sizes, equal to the exact run's bytes one by one."""
    made = square(dtype, gradients=gradients)
    proved = RunningLane(LaneSpec("prove", target=target), HERE).prove(made, Hints({"n": 128}))
    sizes = {"n": 128}
    sizes |= {each.name: each.value(sizes) for each in proved.quantities}
    exact = RunningLane(LaneSpec("shadow", target=target), HERE).run(made, {"n": 128})
    found = [int(each.requested(sizes)) for each in proved.allocations]
    assert [each.requested_bytes for each in exact.allocations] == found


@pytest.mark.parametrize(
    ("target", "is_square"),
    [("cuda:sm_90", False), pytest.param("generic", True, marks=since_2_13)],
)
def test_only_the_math_path_keeps_scores(target, is_square):
    """The law of a fused kernel has no square of the length; the generic target's has."""
    lane = RunningLane(LaneSpec("prove", target=target), HERE)
    proved = lane.prove(square(torch.bfloat16, gradients=False), Hints({"n": 128}))
    assert is_square == any("n**2" in str(each.requested) for each in proved.allocations)


def test_inference_mode_is_seen_alike():
    """There the operator arrives whole."""

    def built(sizes, device):
        x = torch.zeros(2, 4, 128, 64, device=device)

        def run():
            with torch.inference_mode():
                return F.scaled_dot_product_attention(x, x, x)

        return run

    assert [2 * 4 * 128 * 64 * 4] == [each.requested_bytes for each in traced(built).allocations]


def test_the_codes_own_order_is_kept():
    """`sdpa_kernel(..., set_priority=True)`."""
    x = half(2, 4, 64, 64)
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], set_priority=True):
        assert EFFICIENT == choice(Attention(x, x, x), H200)


MASKED, ORDERED, DROPPED = "aten::where.self", "aten::tril", "aten::native_dropout"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, 0.0, False), set()),
        ((None, 0.0, True), {MASKED, ORDERED}),
        ((None, 0.5, False), {DROPPED}),
        ((None, 0.5, True), {MASKED, ORDERED, DROPPED}),
        ((True, 0.0, False), {MASKED}),
    ],
    ids=["nothing", "causal", "dropout", "both", "a mask"],
)
def test_what_no_kernel_takes_is_composed_with_all_that_it_was_given(given, expected):
    """In float64, the mask, the order and the dropout take operators of their own."""
    mask, dropout, is_causal = given

    def built(_sizes, device):
        query = torch.zeros(2, 4, 8, 16, device=device, dtype=torch.float64)
        allowed_keys = torch.ones(8, 8, device=device, dtype=torch.bool) if mask else None
        return lambda: F.scaled_dot_product_attention(
            query, query, query, allowed_keys, dropout, is_causal
        )

    operators = {each.op for each in traced(built).allocations}
    assert expected == operators & {MASKED, ORDERED, DROPPED}
