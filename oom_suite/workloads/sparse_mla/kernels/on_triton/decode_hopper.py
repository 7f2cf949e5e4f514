"""The decode kernel for NVIDIA's Hopper: warps that decode, warps that weigh, warps that sum.

Sixteen warps share a program of 64 heads, and a tile has 64 keys. Four copy stored keys ahead and
decode them into one of two buffers; four multiply them with the queries and keep the running
softmax; eight add the weighted keys up. So no warp holds more than one of these at a time, and none
of them waits for its own. It needs data and scales of a token at multiples of 16 and 8 bytes, as
pages of vLLM's have them.

Written in Gluon, Triton's own lower language (3.6 on), which says where each value lies.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    async_copy,
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

HEADS = gl.constexpr(64)
KEYS = gl.constexpr(64)
LOG2_E = gl.constexpr(1.4426950408889634)
# Registers of a thread that weighs and of one that decodes. Shared memory leaves the L1 cache so
# little that a value kept in memory for want of registers costs a way to the L2: with these there
# is none, and with eight more for each the warps that sum have too few.
WEIGHING_REGISTERS, DECODING_REGISTERS = gl.constexpr(96), gl.constexpr(80)


@gluon.jit
def _entries(
    tile, end, swa_tiles, swa_row, swa_len, extra_row, extra_len, LAYOUT: gl.constexpr,
):  # fmt: skip
    """The slots of a tile as they are given, int32 [KEYS]; -1 where there are none."""
    key = gl.arange(0, KEYS, LAYOUT)
    is_swa = tile < swa_tiles
    entry = gl.where(is_swa, tile, tile - swa_tiles) * KEYS + key
    row = gl.where(is_swa, swa_row, extra_row)
    counts = (entry < gl.where(is_swa, swa_len, extra_len)) & (tile < end)
    return gl.load(row + entry, mask=counts, other=-1)


@gluon.jit
def _stored(
    entries, is_swa, swa_pool, swa_page, swa_slots, extra_pool, extra_page, extra_slots,
    SWA_SIZE: gl.constexpr, EXTRA_SIZE: gl.constexpr,
):  # fmt: skip
    """Where the tokens of entries lie, their seven scales in one word, and which count, [KEYS]."""
    counts = (entries >= 0) & (entries < gl.where(is_swa, swa_slots, extra_slots))
    slots = gl.where(counts, entries, 0)
    block = gl.where(is_swa, slots // SWA_SIZE, slots // EXTRA_SIZE)
    offset = gl.where(is_swa, slots % SWA_SIZE, slots % EXTRA_SIZE)
    size = gl.where(is_swa, SWA_SIZE, EXTRA_SIZE)
    page = gl.where(is_swa, swa_pool, extra_pool)
    page += block.to(gl.int64) * gl.where(is_swa, swa_page, extra_page)
    scales = (page + size * 576 + offset * 8).to(gl.pointer_type(gl.int64))
    return page + offset * 576, gl.load(scales, mask=counts, other=0), counts


@gluon.jit
def _decoded(codes, scales, GROUP: gl.constexpr):
    """64 fp8 values of each key times its scale, bfloat16: exact."""
    exponents = ((scales >> (8 * GROUP)) & 255).to(gl.int32)
    bits = exponents << 23
    # The smallest is no normal number of float32.
    bits = gl.where(exponents == 0, 0x00400000, bits)
    bits = gl.where(exponents == 255, 0x7FC00000, bits)
    scale = gl.expand_dims(bits.to(gl.float32, bitcast=True), 1)
    return (codes.to(gl.float8e4nv, bitcast=True).to(gl.float32) * scale).to(gl.bfloat16)


@gluon.jit
def _copy(raw0, raw1, raw2, raw3, NUM: gl.constexpr, pointers, mask):
    """Begin to copy three or four times 64 fp8 values of each key; what is masked becomes zero."""
    async_copy.async_copy_global_to_shared(raw0, pointers, mask=mask)
    async_copy.async_copy_global_to_shared(raw1, pointers + 64, mask=mask)
    async_copy.async_copy_global_to_shared(raw2, pointers + 128, mask=mask)
    if NUM == 4:
        async_copy.async_copy_global_to_shared(raw3, pointers + 192, mask=mask)
    async_copy.commit_group()


@gluon.jit
def _produce(
    keys, bias, raw0, raw1, raw2, raw3, ready, free,
    swa_pool, swa_row, swa_len, swa_page, swa_slots,
    extra_pool, extra_row, extra_len, extra_page, extra_slots,
    first, end, swa_tiles, SWA_SIZE: gl.constexpr, EXTRA_SIZE: gl.constexpr,
):  # fmt: skip
    """Decode tile after tile into the two buffers, as soon as one of them is free."""
    TILE: gl.constexpr = gl.BlockedLayout([1, 16], [8, 4], [4, 1], [1, 0])
    ROW: gl.constexpr = gl.SliceLayout(1, TILE)
    FLAT: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    column = gl.expand_dims(gl.arange(0, 64, gl.SliceLayout(0, TILE)), 0)
    entries = _entries(first, end, swa_tiles, swa_row, swa_len, extra_row, extra_len, ROW)
    flags = _entries(first, end, swa_tiles, swa_row, swa_len, extra_row, extra_len, FLAT)
    here, scales, counts = _stored(
        entries, first < swa_tiles, swa_pool, swa_page, swa_slots, extra_pool, extra_page,
        extra_slots, SWA_SIZE, EXTRA_SIZE,
    )  # fmt: skip
    mask = gl.expand_dims(counts, 1)
    _copy(raw0, raw1, raw2, raw3, 4, gl.expand_dims(here, 1) + column, mask)
    # What is loaded is looked at a tile later: nothing waits for memory before it must.
    entries = _entries(first + 1, end, swa_tiles, swa_row, swa_len, extra_row, extra_len, ROW)
    for tile in range(first, end):
        buffer = (tile - first) % 2
        target = keys.index(buffer)
        mbarrier.wait(free.index(buffer), (((tile - first) // 2) & 1) ^ 1)
        rope = gl.expand_dims((here + 448).to(gl.pointer_type(gl.bfloat16)), 1) + column
        async_copy.async_copy_global_to_shared(target.slice(448, 64, dim=1), rope, mask=mask)
        async_copy.commit_group()
        named = (flags >= 0) & (flags < gl.where(tile < swa_tiles, swa_slots, extra_slots))
        bias.index(buffer).store(gl.where(named, 0.0, float("-inf")))
        flags = _entries(tile + 1, end, swa_tiles, swa_row, swa_len, extra_row, extra_len, FLAT)
        # The older of two copies: the first four times 64 values.
        async_copy.wait_group(1)
        codes0, codes1 = raw0.load(TILE), raw1.load(TILE)
        codes2, codes3 = raw2.load(TILE), raw3.load(TILE)
        _copy(raw0, raw1, raw2, raw3, 3, gl.expand_dims(here, 1) + (256 + column), mask)
        target.slice(0, 64, dim=1).store(_decoded(codes0, scales, 0))
        target.slice(64, 64, dim=1).store(_decoded(codes1, scales, 1))
        target.slice(128, 64, dim=1).store(_decoded(codes2, scales, 2))
        target.slice(192, 64, dim=1).store(_decoded(codes3, scales, 3))
        here, next_scales, counts = _stored(
            entries, tile + 1 < swa_tiles, swa_pool, swa_page, swa_slots, extra_pool, extra_page,
            extra_slots, SWA_SIZE, EXTRA_SIZE,
        )  # fmt: skip
        mask = gl.expand_dims(counts, 1)
        async_copy.wait_group(0)
        codes0, codes1, codes2 = raw0.load(TILE), raw1.load(TILE), raw2.load(TILE)
        _copy(raw0, raw1, raw2, raw3, 4, gl.expand_dims(here, 1) + column, mask)
        entries = _entries(tile + 2, end, swa_tiles, swa_row, swa_len, extra_row, extra_len, ROW)
        target.slice(256, 64, dim=1).store(_decoded(codes0, scales, 4))
        target.slice(320, 64, dim=1).store(_decoded(codes1, scales, 5))
        target.slice(384, 64, dim=1).store(_decoded(codes2, scales, 6))
        scales = next_scales
        fence_async_shared()
        gl.thread_barrier()
        mbarrier.arrive(ready.index(buffer))
    async_copy.wait_group(0)


@gluon.jit
def _weigh(
    queries, keys, bias, highs, lows, factors, ready, weighed, taken, logs, q, sink, num_heads,
    factor, q_stride, token, head0, split, first, end, SPLITS: gl.constexpr, HAS_SINK: gl.constexpr,
):  # fmt: skip
    """The weights of each tile as two bf16 numbers, and what the sum before it shrinks by."""
    LOGITS: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, KEYS, 16])
    QUERY: gl.constexpr = gl.BlockedLayout([1, 8], [1, 32], [4, 1], [1, 0])
    head = gl.expand_dims(head0 + gl.arange(0, HEADS, gl.SliceLayout(1, QUERY)), 1)
    column = gl.expand_dims(gl.arange(0, 256, gl.SliceLayout(0, QUERY)), 0)
    place = q + token * q_stride + head * 512 + column
    for half in gl.static_range(2):
        async_copy.async_copy_global_to_shared(
            queries.slice(half * 256, 256, dim=1), place + half * 256, mask=head < num_heads
        )
    async_copy.commit_group()
    largest = gl.full([HEADS], float("-inf"), gl.float32, gl.SliceLayout(1, LOGITS))
    summed = gl.zeros([HEADS], gl.float32, gl.SliceLayout(1, LOGITS))
    async_copy.wait_group(0)
    fence_async_shared()
    gl.thread_barrier()
    for tile in range(first, end):
        turn = tile - first
        mbarrier.wait(ready.index(turn % 2), (turn // 2) & 1)
        logits = gl.zeros([HEADS, KEYS], gl.float32, LOGITS)
        here = keys.index(turn % 2).permute((1, 0))
        logits = warpgroup_mma(queries, here, logits, use_acc=False, is_async=True)
        ignored = bias.index(turn % 2).load(gl.SliceLayout(0, LOGITS))
        logits = warpgroup_mma_wait(0, deps=[logits])
        logits = logits * factor + gl.expand_dims(ignored, 0)
        higher = gl.maximum(largest, gl.max(logits, 1))
        finite = gl.where(higher == float("-inf"), 0.0, higher)
        weights = gl.exp2(logits - gl.expand_dims(finite, 1))
        kept = gl.exp2(largest - finite)
        summed = summed * kept + gl.sum(weights, 1)
        largest = higher
        high = weights.to(gl.bfloat16)
        low = (weights - high.to(gl.float32)).to(gl.bfloat16)
        mbarrier.wait(taken, (turn & 1) ^ 1)
        highs.store(high)
        lows.store(low)
        factors.store(kept)
        fence_async_shared()
        gl.thread_barrier()
        mbarrier.arrive(weighed)
    finite = gl.where(largest == float("-inf"), 0.0, largest)
    heads = head0 + gl.arange(0, HEADS, gl.SliceLayout(1, LOGITS))
    whole = summed
    if SPLITS == 1:
        if HAS_SINK:
            weight = gl.load(sink + heads, mask=heads < num_heads, other=0.0) * LOG2_E
            whole += gl.exp2(weight - finite)
    else:
        log = gl.where(summed > 0, finite + gl.log2(summed), float("-inf"))
        at = (token * SPLITS + split) * num_heads + heads
        gl.store(logs + at, log, mask=heads < num_heads)
    mbarrier.wait(taken, (gl.maximum(end - first, 0) & 1) ^ 1)
    factors.store(gl.where(summed > 0, 1.0 / whole, 0.0))
    gl.thread_barrier()
    mbarrier.arrive(weighed)


@gluon.jit
def _sum(
    keys, highs, lows, factors, weighed, taken, free, output, values, num_heads,
    out_stride, token, head0, split, first, end, SPLITS: gl.constexpr,
):  # fmt: skip
    """The weighted sum of the keys: the output, or this split's part of it."""
    SUMS: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 2], [16, 128, 16])
    ROWS: gl.constexpr = gl.SliceLayout(1, SUMS)
    total = gl.zeros([HEADS, 512], gl.float32, SUMS)
    for tile in range(first, end):
        turn = tile - first
        here = keys.index(turn % 2)
        mbarrier.wait(weighed, turn & 1)
        total = total * gl.expand_dims(factors.load(ROWS), 1)
        total = warpgroup_mma(highs, here, total, is_async=True)
        total = warpgroup_mma(lows, here, total, is_async=True)
        total = warpgroup_mma_wait(0, deps=[total])
        gl.thread_barrier()
        mbarrier.arrive(taken)
        mbarrier.arrive(free.index(turn % 2))
    mbarrier.wait(weighed, gl.maximum(end - first, 0) & 1)
    total = total * gl.expand_dims(factors.load(ROWS), 1)
    # By way of the keys' memory, which nobody needs any more, so that whole rows are stored.
    if SPLITS == 1:
        OUT: gl.constexpr = gl.BlockedLayout([1, 8], [1, 32], [8, 1], [1, 0])
        staged = keys._reinterpret(gl.bfloat16, [HEADS, 512], gl.NVMMASharedLayout(128, 16, 2))
        staged.store(total.to(gl.bfloat16))
        _store_rows(staged, output + token * out_stride, head0, num_heads, OUT, 256)
    else:
        PART: gl.constexpr = gl.BlockedLayout([1, 4], [1, 32], [8, 1], [1, 0])
        staged = keys._reinterpret(gl.float32, [HEADS, 512], gl.NVMMASharedLayout(128, 32, 2))
        staged.store(total)
        place = values + (token * SPLITS + split) * num_heads * 512
        _store_rows(staged, place, head0, num_heads, PART, 128)


@gluon.jit
def _store_rows(staged, place, head0, num_heads, LAYOUT: gl.constexpr, WIDTH: gl.constexpr):
    """Store 64 heads of what is staged, as many values of each at once as a warp can."""
    gl.thread_barrier()
    head = gl.expand_dims(head0 + gl.arange(0, HEADS, gl.SliceLayout(1, LAYOUT)), 1)
    column = gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, LAYOUT)), 0)
    for part in gl.static_range(512 // WIDTH):
        rows = staged.slice(part * WIDTH, WIDTH, dim=1).load(LAYOUT)
        gl.store(place + head * 512 + (part * WIDTH + column), rows, mask=head < num_heads)


@gluon.jit
def decode_kernel(
    output, values, logs, q,
    swa_pool, swa_indices, swa_lens, swa_row_stride, swa_width, swa_page, swa_slots,
    extra_pool, extra_indices, extra_lens, extra_row_stride, extra_width, extra_page, extra_slots,
    sink, num_heads, factor, q_stride, out_stride,
    SWA_SIZE: gl.constexpr, EXTRA_SIZE: gl.constexpr, SPLITS: gl.constexpr,
    HAS_EXTRA: gl.constexpr, HAS_SINK: gl.constexpr,
):  # fmt: skip
    """One split of one token and 64 heads: grid [num_tokens, num_heads / 64, SPLITS]."""
    token = gl.program_id(0).to(gl.int64)
    head0 = gl.program_id(1) * HEADS
    split = gl.program_id(2)
    swa_len = gl.minimum(gl.load(swa_lens + token), swa_width)
    swa_tiles = (swa_len + KEYS - 1) // KEYS
    num_tiles = swa_tiles
    extra_len = 0
    if HAS_EXTRA:
        extra_len = gl.minimum(gl.load(extra_lens + token), extra_width)
        num_tiles += (extra_len + KEYS - 1) // KEYS
    first = split * num_tiles // SPLITS
    end = (split + 1) * num_tiles // SPLITS
    WIDE: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    PLAIN: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [1, 0])
    LINE: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [0])
    keys = gl.allocate_shared_memory(gl.bfloat16, [2, KEYS, 512], WIDE)
    queries = gl.allocate_shared_memory(gl.bfloat16, [HEADS, 512], WIDE)
    highs = gl.allocate_shared_memory(gl.bfloat16, [HEADS, KEYS], WIDE)
    lows = gl.allocate_shared_memory(gl.bfloat16, [HEADS, KEYS], WIDE)
    # Four of their own, so that nothing waits between the copies into them.
    raw0 = gl.allocate_shared_memory(gl.uint8, [KEYS, 64], PLAIN)
    raw1 = gl.allocate_shared_memory(gl.uint8, [KEYS, 64], PLAIN)
    raw2 = gl.allocate_shared_memory(gl.uint8, [KEYS, 64], PLAIN)
    raw3 = gl.allocate_shared_memory(gl.uint8, [KEYS, 64], PLAIN)
    bias = gl.allocate_shared_memory(gl.float32, [2, KEYS], LINE)
    factors = gl.allocate_shared_memory(gl.float32, [HEADS], LINE)
    ready = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    weighed = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    taken = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    mbarrier.init(weighed, count=1)
    mbarrier.init(taken, count=1)
    for buffer in gl.static_range(2):
        mbarrier.init(ready.index(buffer), count=1)
        mbarrier.init(free.index(buffer), count=1)
    gl.warp_specialize(
        [
            (_sum, (
                keys, highs, lows, factors, weighed, taken, free, output, values, num_heads,
                out_stride, token, head0, split, first, end, SPLITS,
            )),
            (_weigh, (
                queries, keys, bias, highs, lows, factors, ready, weighed, taken, logs, q, sink,
                num_heads, factor, q_stride, token, head0, split, first, end, SPLITS, HAS_SINK,
            )),
            (_produce, (
                keys, bias, raw0, raw1, raw2, raw3, ready, free,
                swa_pool, swa_indices + token * swa_row_stride, swa_len, swa_page, swa_slots,
                extra_pool, extra_indices + token * extra_row_stride, extra_len, extra_page,
                extra_slots, first, end, swa_tiles, SWA_SIZE, EXTRA_SIZE,
            )),
        ],
        [4, 4],
        [WEIGHING_REGISTERS, DECODING_REGISTERS],
    )  # fmt: skip
