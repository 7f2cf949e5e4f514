"""Tokens of a cache become rows of bf16: in torch here, in Triton in `test_interpreted.py`."""

from __future__ import annotations

import pytest
import torch

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.caches import dequantize, paged_pool, write_blocks
from oom_suite.workloads.sparse_mla.caches.pools import block_view
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.kernels import dispatch
from oom_suite.workloads.sparse_mla.kernels.gather import (
    dequantize_and_gather_k_cache,
    dequantize_and_gather_k_cache_sparse,
)

BLOCK_SIZE, NUM_BLOCKS = 4, 6
UNTOUCHED = 7.0


@pytest.fixture(params=[torch.float8_e4m3fn, torch.float8_e4m3fnuz], ids=["fn", "fnuz"])
def fp8(request):
    """Which fp8 a cache holds."""
    return request.param


@pytest.fixture(params=[False, True], ids=["contiguous", "padded pages"])
def cache(request, fp8):
    """A cache with random keys in every block."""
    pool = paged_pool(NUM_BLOCKS, BLOCK_SIZE, FP8_DS_MLA_V4, "cpu", padded=request.param)
    keys = torch.randn(NUM_BLOCKS, BLOCK_SIZE, 512, generator=torch.Generator().manual_seed(0))
    write_blocks(pool, torch.arange(NUM_BLOCKS), keys, FP8_DS_MLA_V4, fp8)
    return pool


def rows_of(*shape):
    return torch.full((*shape, 512), UNTOUCHED, dtype=torch.bfloat16)


def decoded(cache, slots, fp8):
    """The slots' keys, by the codec that wrote them."""
    values = dequantize(block_view(cache), BLOCK_SIZE, FP8_DS_MLA_V4, fp8).flatten(0, 1)
    return values[slots.long()].to(torch.bfloat16)


@pytest.mark.parametrize("seed", range(3))
def test_a_row_is_the_token_of_its_slot(cache, fp8, seed):
    """Of a scattered permutation of all slots."""
    order = torch.randperm(NUM_BLOCKS * BLOCK_SIZE, generator=torch.Generator().manual_seed(seed))
    out = rows_of(len(order))
    dequantize_and_gather_k_cache_sparse(out, cache, order.int(), BLOCK_SIZE, fp8)
    assert torch.equal(decoded(cache, order, fp8), out)


def test_a_row_of_padding_stays_as_it_was(cache, fp8):
    """At the front, between rows and at the end."""
    slots = torch.tensor([-1, 3, -1, 23, -1], dtype=torch.int32)
    out = rows_of(5)
    dequantize_and_gather_k_cache_sparse(out, cache, slots, BLOCK_SIZE, fp8)
    assert torch.equal(rows_of(3), out[[0, 2, 4]])
    assert torch.equal(decoded(cache, torch.tensor([3, 23]), fp8), out[[1, 3]])


def test_no_slots_are_no_work(cache, fp8):
    """An empty batch is served without a word."""
    none = torch.empty(0, dtype=torch.int32)
    dequantize_and_gather_k_cache_sparse(rows_of(0), cache, none, BLOCK_SIZE, fp8)


def test_both_give_the_same_of_contiguous_slots(cache, fp8):
    """A prefix through an identity table is its slots in order."""
    dense, sparse = rows_of(1, 10), rows_of(10)
    table = torch.arange(NUM_BLOCKS, dtype=torch.int32).unsqueeze(0)
    lens = torch.tensor([10], dtype=torch.int32)
    dequantize_and_gather_k_cache(dense, cache, lens, None, table, BLOCK_SIZE, 0, fp8)
    slots = torch.arange(10, dtype=torch.int32)
    dequantize_and_gather_k_cache_sparse(sparse, cache, slots, BLOCK_SIZE, fp8)
    assert torch.equal(sparse, dense[0])


def test_the_last_tokens_of_each_request_go_behind_the_offset(cache, fp8):
    """Through a scattered table; one request wants none, and rows around them stay."""
    out = rows_of(3, 9)
    table = torch.tensor([[5, 0, 2], [1, 1, 1], [4, 3, 0]], dtype=torch.int32)
    seq_lens = torch.tensor([11, 5, 8], dtype=torch.int32)
    gather_lens = torch.tensor([6, 0, 3], dtype=torch.int32)
    dequantize_and_gather_k_cache(out, cache, seq_lens, gather_lens, table, BLOCK_SIZE, 2, fp8)
    # Tokens 5 to 10 of the first, 5 to 7 of the last.
    first = torch.tensor([1, 2, 3, 8, 9, 10])
    last = torch.tensor([13, 14, 15])
    assert torch.equal(decoded(cache, first, fp8), out[0, 2:8])
    assert torch.equal(decoded(cache, last, fp8), out[2, 2:5])
    for rows in (out[:, :2], out[0, 8:], out[1], out[2, 5:]):
        assert torch.equal(torch.full_like(rows, UNTOUCHED), rows)


GOOD = {
    "out": rows_of(2),
    "k_cache": torch.zeros(2, BLOCK_SIZE, 584, dtype=torch.uint8),
    "slot_indices": torch.zeros(2, dtype=torch.int32),
    "block_size": BLOCK_SIZE,
}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"out": torch.zeros(2, 512)}, "out is torch.float32 [2, 512]: it must be torch.bfloat16"),
        ({"out": rows_of(2)[:, :448]}, "out is torch.bfloat16 [2, 448]"),
        ({"block_size": 8}, "[num_blocks, 8, 584]"),
        ({"k_cache": torch.zeros(2, BLOCK_SIZE, 656, dtype=torch.uint8)}, "[2, 4, 656]"),
        ({"slot_indices": torch.zeros(3, dtype=torch.int32)}, "slot_indices is torch.int32 [3]"),
        ({"slot_indices": torch.zeros(2, dtype=torch.int64)}, "it must be torch.int32 [2]"),
        ({"fp8_dtype": torch.float8_e5m2}, "fp8_dtype is torch.float8_e5m2: it must be one of"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_what_does_not_fit_is_refused_in_one_line(wrong, told):
    """What was given, and what is taken."""
    with pytest.raises(UsageError) as refused:
        dequantize_and_gather_k_cache_sparse(**GOOD | wrong)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("offset", [-1, 3])
def test_an_offset_outside_of_the_rows_is_refused(offset):
    """The first and the last that are too far."""
    lens, table = torch.ones(1, dtype=torch.int32), torch.zeros(1, 1, dtype=torch.int32)
    with pytest.raises(UsageError, match=f"offset is {offset}: it must be from 0 to 2"):
        dequantize_and_gather_k_cache(
            rows_of(1, 2), GOOD["k_cache"], lens, None, table, BLOCK_SIZE, offset
        )


@pytest.fixture
def fast(monkeypatch):
    """The fast paths of a test, none at first."""
    monkeypatch.setattr(dispatch, "_fast", [])
    return dispatch._fast


def test_a_fast_path_that_applies_does_the_call_and_the_last_registered_is_asked_first(fast):
    """One that does not apply leaves it to the next."""
    done = []
    for name, applies in (("first", True), ("second", True), ("third", False)):
        dispatch.register_fast_path(
            dispatch.FastPath(
                "gather_sparse",
                lambda *, applies=applies, **_call: applies,
                lambda *, name=name, **_call: done.append(name),
            )
        )
    dequantize_and_gather_k_cache_sparse(**GOOD)
    assert ["second"] == done
    assert not dispatch.run_fast("decode", **GOOD)


def test_a_gpu_without_triton_is_told_what_to_install(monkeypatch):
    """Not a traceback of an import."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(dispatch, "_has_triton", lambda: False)

    class OnGpu:
        is_cuda = True

    with pytest.raises(UsageError, match=r"pip install 'oom-suite\[triton\]'"):
        dispatch.takes_triton(OnGpu())
