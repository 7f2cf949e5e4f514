"""Sparse attention of one decode step from the stored caches, in one pass, on CUDA and HIP."""

from __future__ import annotations

import triton
import triton.language as tl

from oom_suite.workloads.sparse_mla.kernels.on_triton.stored import nope_tile, places, rope_tile

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _weighted(weights, low, values, total):
    """`total` and the weighted sum: two products of bf16 keep 16 bits of each weight."""
    total = tl.dot(weights, values, total)
    return tl.dot(low, values, total)


@triton.jit
def _attend(
    q0,
    q1,
    q2,
    q3,
    a0,
    a1,
    a2,
    a3,
    largest,
    summed,
    pool,
    row,
    count,
    first_tile,
    end_tile,
    page_bytes,
    num_slots,
    factor,
    BLOCK_SIZE: tl.constexpr,
    KEYS: tl.constexpr,
    IS_FNUZ: tl.constexpr,
):
    """The running softmax after some tiles of one pool."""
    for tile in tl.range(first_tile, end_tile, num_stages=1):
        entry = tile * KEYS + tl.arange(0, KEYS)
        slots = tl.load(row + entry, mask=entry < count, other=-1)
        counts = (slots >= 0) & (slots < num_slots)
        data, scales = places(tl.where(counts, slots, 0), page_bytes, BLOCK_SIZE)
        k0 = nope_tile(pool, data, scales, counts, 0, 4, IS_FNUZ)
        k1 = nope_tile(pool, data, scales, counts, 256, 2, IS_FNUZ)
        k2 = nope_tile(pool, data, scales, counts, 384, 1, IS_FNUZ)
        k3 = rope_tile(pool, data, counts)
        logits = tl.dot(q0, tl.trans(k0))
        logits = tl.dot(q1, tl.trans(k1), logits)
        logits = tl.dot(q2, tl.trans(k2), logits)
        logits = tl.dot(q3, tl.trans(k3), logits) * factor
        logits = tl.where(counts[None, :], logits, float("-inf"))
        higher = tl.maximum(largest, tl.max(logits, 1))
        finite = tl.where(higher == float("-inf"), 0.0, higher)
        weights = tl.exp2(logits - finite[:, None])
        kept = tl.exp2(largest - finite)
        summed = summed * kept + tl.sum(weights, 1)
        high = weights.to(tl.bfloat16)
        low = (weights - high.to(tl.float32)).to(tl.bfloat16)
        a0 = _weighted(high, low, k0, a0 * kept[:, None])
        a1 = _weighted(high, low, k1, a1 * kept[:, None])
        a2 = _weighted(high, low, k2, a2 * kept[:, None])
        a3 = _weighted(high, low, k3, a3 * kept[:, None])
        largest = higher
    return a0, a1, a2, a3, largest, summed


@triton.jit
def store_heads(target, a0, a1, a2, a3, factor, mask):
    """512 values of each head."""
    tl.store(target + tl.arange(0, 256)[None, :], a0 * factor[:, None], mask=mask)
    tl.store(target + (256 + tl.arange(0, 128))[None, :], a1 * factor[:, None], mask=mask)
    tl.store(target + (384 + tl.arange(0, 64))[None, :], a2 * factor[:, None], mask=mask)
    tl.store(target + (448 + tl.arange(0, 64))[None, :], a3 * factor[:, None], mask=mask)


@triton.jit
def decode_kernel(
    partial,
    lse,
    output,
    q,
    swa_pool,
    swa_indices,
    swa_lens,
    swa_row_stride,
    swa_width,
    swa_page_bytes,
    swa_slots,
    extra_pool,
    extra_indices,
    extra_lens,
    extra_row_stride,
    extra_width,
    extra_page_bytes,
    extra_slots,
    sink,
    num_heads,
    factor,
    q_token_stride,
    out_token_stride,
    SWA_BLOCK_SIZE: tl.constexpr,
    EXTRA_BLOCK_SIZE: tl.constexpr,
    HEADS: tl.constexpr,
    KEYS: tl.constexpr,
    SPLITS: tl.constexpr,
    HAS_EXTRA: tl.constexpr,
    HAS_SINK: tl.constexpr,
    IS_FNUZ: tl.constexpr,
):
    """One split of one token and some heads: grid [num_tokens, num_heads / HEADS, SPLITS]."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    split = tl.program_id(2)
    is_head = head < num_heads
    mask = is_head[:, None]
    query = q + token * q_token_stride + head[:, None] * 512
    q0 = tl.load(query + tl.arange(0, 256)[None, :], mask=mask, other=0.0)
    q1 = tl.load(query + (256 + tl.arange(0, 128))[None, :], mask=mask, other=0.0)
    q2 = tl.load(query + (384 + tl.arange(0, 64))[None, :], mask=mask, other=0.0)
    q3 = tl.load(query + (448 + tl.arange(0, 64))[None, :], mask=mask, other=0.0)
    a0 = tl.zeros((HEADS, 256), tl.float32)
    a1 = tl.zeros((HEADS, 128), tl.float32)
    a2 = tl.zeros((HEADS, 64), tl.float32)
    a3 = tl.zeros((HEADS, 64), tl.float32)
    largest = tl.full((HEADS,), float("-inf"), tl.float32)
    summed = tl.zeros((HEADS,), tl.float32)

    swa_len = tl.minimum(tl.load(swa_lens + token), swa_width)
    swa_tiles = tl.cdiv(swa_len, KEYS)
    num_tiles = swa_tiles
    extra_len = 0
    if HAS_EXTRA:
        extra_len = tl.minimum(tl.load(extra_lens + token), extra_width)
        num_tiles += tl.cdiv(extra_len, KEYS)
    first = split * num_tiles // SPLITS
    end = (split + 1) * num_tiles // SPLITS
    a0, a1, a2, a3, largest, summed = _attend(
        q0,
        q1,
        q2,
        q3,
        a0,
        a1,
        a2,
        a3,
        largest,
        summed,
        swa_pool,
        swa_indices + token * swa_row_stride,
        swa_len,
        first,
        tl.minimum(end, swa_tiles),
        swa_page_bytes,
        swa_slots,
        factor,
        SWA_BLOCK_SIZE,
        KEYS,
        IS_FNUZ,
    )
    if HAS_EXTRA:
        a0, a1, a2, a3, largest, summed = _attend(
            q0,
            q1,
            q2,
            q3,
            a0,
            a1,
            a2,
            a3,
            largest,
            summed,
            extra_pool,
            extra_indices + token * extra_row_stride,
            extra_len,
            tl.maximum(first - swa_tiles, 0),
            end - swa_tiles,
            extra_page_bytes,
            extra_slots,
            factor,
            EXTRA_BLOCK_SIZE,
            KEYS,
            IS_FNUZ,
        )
    finite = tl.where(largest == float("-inf"), 0.0, largest)
    if SPLITS == 1:
        total = summed
        if HAS_SINK:
            weight = tl.load(sink + head, mask=is_head, other=0.0) * LOG2_E
            total += tl.exp2(weight - finite)
        inverse = tl.where(summed > 0, 1.0 / total, 0.0)
        place = output + token * out_token_stride + head[:, None] * 512
        store_heads(place, a0, a1, a2, a3, inverse, mask)
    else:
        inverse = tl.where(summed > 0, 1.0 / summed, 0.0)
        at = (token * SPLITS + split) * num_heads + head
        store_heads(partial + at[:, None] * 512, a0, a1, a2, a3, inverse, mask)
        tl.store(
            lse + at, tl.where(summed > 0, finite + tl.log2(summed), float("-inf")), mask=is_head
        )


@triton.jit
def merge_kernel(
    output,
    partial,
    lse,
    sink,
    num_heads,
    out_token_stride,
    SPLITS: tl.constexpr,
    HAS_SINK: tl.constexpr,
):
    """The splits of one token and head, each weighted by its share: grid [tokens * heads]."""
    token = (tl.program_id(0) // num_heads).to(tl.int64)
    head = tl.program_id(0) % num_heads
    split = tl.arange(0, SPLITS)
    at = (token * SPLITS + split) * num_heads + head
    column = tl.arange(0, 512)
    parts = tl.load(partial + at[:, None] * 512 + column[None, :])
    logs = tl.load(lse + at)
    largest = tl.max(logs, 0)
    finite = tl.where(largest == float("-inf"), 0.0, largest)
    shares = tl.exp2(logs - finite)
    total = tl.sum(shares, 0)
    is_any = total > 0
    if HAS_SINK:
        total += tl.exp2(tl.load(sink + head) * LOG2_E - finite)
    value = tl.sum(parts * shares[:, None], 0) * tl.where(is_any, 1.0 / total, 0.0)
    tl.store(output + token * out_token_stride + head * 512 + column, value)
