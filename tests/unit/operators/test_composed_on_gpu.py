"""What a GPU's kernels are made of is in the trace of a prediction, and of no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.operators.cuda.composed import COMPOSED_ON_GPU
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
H200 = "cuda:sm_90"
aten = torch.ops.aten


def found(body, kernels=H200):
    """Requests of ``body(x, i)`` as ``bytes name``, and what is named: x floats [8, 16], i 24."""

    def build(sizes, device):
        x = torch.ones(8, 16, device=device)
        i = torch.arange(24, device=device) % 5
        return lambda: body(x, i)

    trace = ShadowLane(HERE, kernels, target=H200).run(build, {})
    taken = [f"{one.requested_bytes} {one.op.removeprefix('aten::')}" for one in trace.allocations]
    return taken, [one.op for one in trace.unseen]


def bilinear(x, i):
    return torch.nn.functional.bilinear(x[:2, :3], x[:2, :4], x.view(-1)[:24].view(2, 3, 4))


SORT = ["512 sort", "1024 sort", "1024 arange"]

CALLS = {
    "aten::trace": (lambda x, i: x.trace(), ["4 sum"]),
    "a trace of whole numbers widens the diagonal": (
        lambda x, i: i.view(4, 6).int().trace(),
        ["96 _to_copy", "8 sum", "32 sum"],
    ),
    "aten::equal": (lambda x, i: i.equal(i + 0), ["192 add.Tensor", "24 eq.Tensor", "1 all"]),
    "a tensor is equal to itself without a look": (lambda x, i: i.equal(i), []),
    "tensors of other shapes are not compared": (lambda x, i: i.equal(i[:3]), []),
    "aten::allclose": (
        lambda x, i: torch.allclose(i, i),
        [
            *("24 eq.Tensor", "96 _to_copy", "96 mul.Scalar", "96 abs", "96 add.Scalar"),
            *("96 sub.Tensor", "96 abs", "96 abs", "24 ne.Scalar", "24 eq.Tensor"),
            *("24 mul.Tensor", "24 le.Tensor", "1 all"),
        ],
    ),
    "aten::median": (
        lambda x, i: x.median(),
        [*SORT, "1 ne.Tensor", "4 where.self"],
    ),
    "aten::nanmedian": (
        lambda x, i: x.nanmedian(),
        [*SORT, "128 ne.Tensor", "8 sum", "1024 sum"],
    ),
    "aten::_chunk_cat": (
        lambda x, i: aten._chunk_cat([x.t(), x.t()], 0, 3),
        ["576 new_zeros", "576 new_zeros", "1152 cat"],
    ),
    "tensors in rows are copied by one kernel": (
        lambda x, i: aten._chunk_cat([x, x], 0, 3),
        ["1152 _chunk_cat", "128 places"],
    ),
    "aten::masked_scatter_backward": (
        lambda x, i: aten.masked_scatter_backward(x[0], i[:16] > 2, [16]),
        ["16 gt.Scalar", "4 nonzero"],
    ),
    "aten::isin.Tensor_Tensor": (
        lambda x, i: torch.isin(i, i[:3]),
        ["24 empty.memory_format", "72 eq.Tensor", "24 any"],
    ),
    "aten::isin.Tensor_Scalar": (lambda x, i: torch.isin(i, 3), ["24 eq.Scalar"]),
    "aten::_trilinear": (bilinear, ["16 zeros"]),
    "aten::_euclidean_dist": (
        lambda x, i: aten._euclidean_dist(x[:2], x[:3]),
        ["128 pow", "8 sum", "8 ones_like", "192 pow", "12 sum", "12 ones_like", "128 mul.Scalar"],
    ),
    "aten::_unsafe_masked_index": (
        lambda x, i: aten._unsafe_masked_index(x, (i[:8] > 2)[:, None], [i[:8]], 0.0),
        [
            *("8 gt.Scalar", "64 clamp", "512 _unsafe_index", "8 logical_not"),
            "512 masked_fill.Scalar",
        ],
    ),
    "aten::_unsafe_masked_index_put_accumulate": (
        lambda x, i: aten._unsafe_masked_index_put_accumulate(x, (i[:8] > 2)[:, None], [i[:8]], x),
        [
            *("8 gt.Scalar", "64 clamp", "8 logical_not", "512 masked_fill.Scalar"),
            *("512 _unsafe_index_put", *["64 _unsafe_index_put"] * 4),
        ],
    ),
    "aten::mvlgamma": (
        lambda x, i: x.mvlgamma(2),
        ["8 arange.start_out", "1024 add.Tensor", "512 sum"],
    ),
}


def test_every_composition_is_called_here():
    assert COMPOSED_ON_GPU.keys() <= CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_the_first_requests_are_those_of_the_parts(name):
    body, expected = CALLS[name]
    taken, _ = found(body)
    assert expected == taken[: len(expected)]


@pytest.mark.parametrize("name", CALLS)
def test_what_is_seen_as_its_parts_is_not_named(name):
    assert [] == found(CALLS[name][0])[1]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda x, i: x.median(), ["4 median"]),
        (lambda x, i: x.trace(), ["4 trace"]),
        (lambda x, i: i.equal(i + 0), ["192 add.Tensor"]),
    ],
)
def test_a_law_for_no_device_has_what_dispatch_sees(body, expected):
    assert expected == found(body, kernels="")[0]


def test_few_are_looked_up_one_by_one_and_many_are_sorted():
    """24 entries: up to int(10 * 24 ** 0.145) - 1, which is 14."""
    few = found(lambda x, i: torch.isin(i, i[:14]))[0]
    many = found(lambda x, i: torch.isin(i, i[:15]))[0]
    assert "336 eq.Tensor" in few
    assert not [each for each in few if "sort" in each]
    assert [each for each in many if "sort" in each]


def test_what_is_in_host_memory_is_no_gpu_s():
    taken, _ = found(lambda x, i: torch.ones(4).median())
    assert [] == taken
