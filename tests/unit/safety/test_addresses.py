from __future__ import annotations

import os
import signal

import pytest
import torch

from oom_suite.records import Verdict
from oom_suite.safety.addresses import Addresses
from oom_suite.safety.placements import placements
from oom_suite.workloads.sparse_mla.builtins import BUILTINS, token_gather_decode

PAGE_BYTES = 37_440
PLACEMENTS = placements(8, 64, PAGE_BYTES)
STRIDED, DENSE = PLACEMENTS[-2:]


def dropping(drops):
    """token_gather that ignores the entries of blocks for which ``drops(first_byte)`` holds."""

    def decode(**step):
        pool, slots = step["swa_k_cache"], step["swa_indices"]
        first_byte = slots.long() // pool.shape[1] * pool.stride(0)
        token_gather_decode(**{**step, "swa_indices": slots.masked_fill(drops(first_byte), -1)})

    return decode


def wrong_blocks(finding):
    return {hit.text.partition(":")[0]: hit.region.first_byte for hit in finding.hits}


@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
@pytest.mark.parametrize("name", BUILTINS)
def test_built_ins_give_the_same_bits_everywhere(safety_target, name, workload):
    """A whole-pool decode cannot be shown on the dense pool, which is said; all else is right."""
    finding = Addresses()(safety_target(call=BUILTINS[name], workload=workload))
    said = dict(finding.facts)
    others = {one.name: said[one.name] for one in PLACEMENTS if one is not DENSE}
    assert (Verdict.PASS, {"the same bits"}) == (finding.verdict, set(others.values()))
    assert (name == "full_dequant") == ("grows with the pool" in said[DENSE.name])


@pytest.mark.parametrize(
    ("limit", "strided", "dense"),
    [
        (2**31, 3 * STRIDED.stride_bytes, 57_359 * PAGE_BYTES),
        (2**32, 6 * STRIDED.stride_bytes, 114_717 * PAGE_BYTES),
    ],
    ids=["2**31", "2**32"],
)
def test_the_first_wrong_block_is_named(safety_target, limit, strided, dense):
    """Addresses that break at a limit are wrong from the first block behind it on."""
    finding = Addresses()(safety_target(call=dropping(lambda first: first >= limit)))
    assert Verdict.FAIL is finding.verdict
    assert {"wrong-address"} == {hit.kind for hit in finding.hits}
    assert {STRIDED.name: strided, DENSE.name: dense} == wrong_blocks(finding)


def test_the_block_across_the_limit_is_tried(safety_target):
    """A block that begins before 2**31 and ends behind it is placed in the dense pool."""

    def drops(first):
        return (first < 2**31) & (first + PAGE_BYTES > 2**31)

    assert {DENSE.name} == set(wrong_blocks(Addresses()(safety_target(call=dropping(drops)))))


def test_limits_beyond_the_pool_are_the_healthy_twin(safety_target):
    """Code that is right up to the largest address tried passes."""
    largest = max(one.num_blocks * one.stride_bytes for one in PLACEMENTS)
    target = safety_target(call=dropping(lambda first: first >= largest))
    assert Verdict.PASS is Addresses()(target).verdict


def _seen_as(pool, stride, offset):
    return pool.as_strided(pool.shape, (stride, 584, 1), offset)


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda p: _seen_as(p, p.shape[1] * 584, p.storage_offset()), "padded pages"),
        (lambda p: _seen_as(p, p.stride(0), 0), "a view into a larger buffer"),
        (
            lambda p: _seen_as(p, min(p.stride(0), PAGE_BYTES), p.storage_offset()),
            "a block stride of several pages",
        ),
    ],
    ids=["ignores padding", "ignores the offset", "ignores a longer stride"],
)
def test_a_layout_that_is_assumed_is_found(safety_target, change, broken):
    """Code that takes pages to be contiguous, or a pool to begin its storage, is wrong there."""

    def decode(**step):
        token_gather_decode(**{**step, "swa_k_cache": change(step["swa_k_cache"])})

    finding = Addresses()(safety_target(call=decode))
    assert broken == finding.hits[0].text.partition(":")[0]


def test_a_crash_past_a_limit_is_a_wild_access(safety_target):
    """A wrong address that crashes ends its fork and not the check."""

    def decode(**step):
        if step["swa_k_cache"].stride(0) > 2**28:
            os.kill(os.getpid(), signal.SIGSEGV)
        token_gather_decode(**step)

    finding = Addresses()(safety_target(call=decode))
    assert [("wild-access", True)] == [(h.kind, "SIGSEGV" in h.text) for h in finding.hits]


def test_int32_arithmetic_on_the_elements_of_a_pool_is_found(safety_target):
    """Slot times 512 elements in int32, the fault that vLLM had to fix, breaks in the pool."""

    def decode(**step):
        slots = step["swa_indices"]
        overflows = (slots.to(torch.int32) * 512) < 0
        kept = slots.masked_fill(overflows & (slots > 0), -1)
        token_gather_decode(**{**step, "swa_indices": kept})

    assert {DENSE.name} == set(wrong_blocks(Addresses()(safety_target(call=decode))))


def test_slots_stay_within_int32():
    """Every placement can be indexed by int32, as vLLM's indices are."""
    assert all(one.num_blocks * 64 < 2**31 for one in PLACEMENTS)


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 8, 24])
@pytest.mark.parametrize(
    ("block_size", "page_bytes"), [(64, 37_440), (64, 16_384), (16, 512), (1, 8)]
)
def test_any_small_pool_is_placed(num_blocks, block_size, page_bytes):
    """Each block has a place of its own within the pool, the last one far away."""
    for where in placements(num_blocks, block_size, page_bytes):
        assert num_blocks == len(set(where.blocks))
        assert list(where.blocks) == sorted(where.blocks)
        assert 0 <= where.blocks[0]
        assert where.blocks[-1] < where.num_blocks
        assert where.num_blocks * block_size <= 2**31
        assert where.stride_bytes % page_bytes == 0
        if where.is_far and num_blocks > 1 and page_bytes > 8:
            assert where.first_byte(num_blocks - 1) >= 2**32 - where.stride_bytes
