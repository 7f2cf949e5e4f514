"""A Triton kernel: its launch is recorded and not run, what is allocated around it is exact."""

from __future__ import annotations

import pytest
import torch

from oom_suite import memory_law

triton = pytest.importorskip("triton", reason="needs the extra `triton`")
tl = pytest.importorskip("triton.language")

AXES = {"num_blocks": 512, "num_tokens": 8}


@triton.jit
def _gather(cache, slots, out, width: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, width)
    slot = tl.load(slots + row)
    tl.store(out + row * width + columns, tl.load(cache + slot * width + columns))


def gather(cache, slots):
    out = cache.new_empty(len(slots), 64)
    _gather[(len(slots),)](cache, slots, out, 64)
    return out


def inputs(sizes, device):
    cache = torch.empty(sizes.num_blocks, 16, 64, device=device)
    return cache, torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)


@memory_law(axes=AXES, independent_of="num_blocks", law="256*num_tokens")
def test_gather_takes_its_result_alone(sizes, device):
    """A kernel that reads its slots from the pool takes one row a token."""
    given = inputs(sizes, device)
    return lambda: gather(*given)


def grown(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: gather(cache.contiguous().half().float(), slots)


def test_a_converted_pool_is_caught(oom_law):
    """A pool that is converted for the kernel grows with its blocks."""
    result = oom_law.judge(grown, axes=AXES, independent_of="num_blocks")
    assert "FAIL" == result.verdict.value
    assert "peak grows with num_blocks (6,144 bytes per block)" == result.reason
