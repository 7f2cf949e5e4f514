"""The decode kernel for NVIDIA's Hopper: four warps decode keys while eight attend to them.

The producer copies a tile's stored keys ahead, decodes them into one of two buffers and signals;
the consumers multiply from that buffer and free it. A tile has 64 keys; a program serves 64 heads.
It needs data and scales of a token at multiples of 16 and 8 bytes, as pages of vLLM's have them.

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
# Registers of a producer's thread: what it needs to hold no value in memory, and the consumers
# nearly none. 96 and 112 were slower on an H200.
PRODUCER_REGISTERS = gl.constexpr(104)


@gluon.jit
def _slots_of(
    tile, end, swa_tiles, swa_row, swa_len, swa_slots, extra_row, extra_len, extra_slots,
    LAYOUT: gl.constexpr,
):  # fmt: skip
    """The slots of a tile, int32 [KEYS]; -1 where no entry counts, and past the last tile."""
    key = gl.arange(0, KEYS, LAYOUT)
    is_swa = tile < swa_tiles
    entry = tile * KEYS + key
    first = gl.load(swa_row + entry, mask=(entry < swa_len) & (tile < end) & is_swa, other=-1)
    entry = (tile - swa_tiles) * KEYS + key
    counts = (entry < extra_len) & (tile < end) & (tile >= swa_tiles)
    slots = gl.where(is_swa, first, gl.load(extra_row + entry, mask=counts, other=-1))
    return gl.where(slots < gl.where(is_swa, swa_slots, extra_slots), slots, -1)


@gluon.jit
def _places(is_swa, slots, swa_page, extra_page, SWA_SIZE: gl.constexpr, EXTRA_SIZE: gl.constexpr):
    """Bytes from the pool's start at which the slots' data and their scales begin."""
    slots = gl.where(slots >= 0, slots, 0)
    block = gl.where(is_swa, slots // SWA_SIZE, slots // EXTRA_SIZE)
    offset = gl.where(is_swa, slots % SWA_SIZE, slots % EXTRA_SIZE)
    size = gl.where(is_swa, SWA_SIZE, EXTRA_SIZE)
    page = block.to(gl.int64) * gl.where(is_swa, swa_page, extra_page)
    return page + offset * 576, page + size * 576 + offset * 8


@gluon.jit
def _decoded(codes, exponents):
    """64 fp8 values of each key times its scale, bfloat16: exact."""
    bits = exponents.to(gl.int32) << 23
    bits = gl.where(exponents == 0, 0x00400000, bits)
    bits = gl.where(exponents == 255, 0x7FC00000, bits)
    scale = gl.expand_dims(bits.to(gl.float32, bitcast=True), 1)
    return (codes.to(gl.float8e4nv, bitcast=True).to(gl.float32) * scale).to(gl.bfloat16)


@gluon.jit
def _copy_codes(raw, pointers, mask):
    """Begin to copy the fp8 values of a tile; what is masked becomes zero."""
    for group in gl.static_range(7):
        async_copy.async_copy_global_to_shared(raw.index(group), pointers + group * 64, mask=mask)
    async_copy.commit_group()


@gluon.jit
def _produce(
    keys, bias, raw, ready, free,
    swa_pool, swa_row, swa_len, swa_page, swa_slots,
    extra_pool, extra_row, extra_len, extra_page, extra_slots,
    first, end, swa_tiles, SWA_SIZE: gl.constexpr, EXTRA_SIZE: gl.constexpr,
):  # fmt: skip
    """Decode tile after tile into the two buffers, one ahead of the consumers."""
    TILE: gl.constexpr = gl.BlockedLayout([1, 16], [8, 4], [4, 1], [1, 0])
    ROW: gl.constexpr = gl.SliceLayout(1, TILE)
    FLAT: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    column = gl.expand_dims(gl.arange(0, 64, gl.SliceLayout(0, TILE)), 0)
    slots = _slots_of(
        first, end, swa_tiles, swa_row, swa_len, swa_slots, extra_row, extra_len, extra_slots, ROW
    )
    flags = _slots_of(
        first, end, swa_tiles, swa_row, swa_len, swa_slots, extra_row, extra_len, extra_slots, FLAT
    )
    is_swa = first < swa_tiles
    data, scales = _places(is_swa, slots, swa_page, extra_page, SWA_SIZE, EXTRA_SIZE)
    counts = slots >= 0
    pool = gl.where(is_swa, swa_pool, extra_pool)
    _copy_codes(raw, pool + gl.expand_dims(data, 1) + column, gl.expand_dims(counts, 1))
    slots = _slots_of(
        first + 1,
        end,
        swa_tiles,
        swa_row,
        swa_len,
        swa_slots,
        extra_row,
        extra_len,
        extra_slots,
        ROW,
    )
    for tile in range(first, end):
        turn = tile - first
        buffer = turn % 2
        e0 = gl.load(pool + scales, mask=counts, other=0)
        e1 = gl.load(pool + scales + 1, mask=counts, other=0)
        e2 = gl.load(pool + scales + 2, mask=counts, other=0)
        e3 = gl.load(pool + scales + 3, mask=counts, other=0)
        e4 = gl.load(pool + scales + 4, mask=counts, other=0)
        e5 = gl.load(pool + scales + 5, mask=counts, other=0)
        e6 = gl.load(pool + scales + 6, mask=counts, other=0)
        target = keys.index(buffer)
        mbarrier.wait(free.index(buffer), ((turn // 2) & 1) ^ 1)
        rope = (pool + data + 448).to(gl.pointer_type(gl.bfloat16))
        async_copy.async_copy_global_to_shared(
            target.slice(448, 64, dim=1),
            gl.expand_dims(rope, 1) + column,
            mask=gl.expand_dims(counts, 1),
        )
        async_copy.commit_group()
        bias.index(buffer).store(gl.where(flags >= 0, 0.0, float("-inf")))
        flags = _slots_of(
            tile + 1,
            end,
            swa_tiles,
            swa_row,
            swa_len,
            swa_slots,
            extra_row,
            extra_len,
            extra_slots,
            FLAT,
        )
        # The older of two copies: the fp8 values of this tile.
        async_copy.wait_group(1)
        c0, c1 = raw.index(0).load(TILE), raw.index(1).load(TILE)
        c2, c3 = raw.index(2).load(TILE), raw.index(3).load(TILE)
        target.slice(0, 64, dim=1).store(_decoded(c0, e0))
        target.slice(64, 64, dim=1).store(_decoded(c1, e1))
        target.slice(128, 64, dim=1).store(_decoded(c2, e2))
        target.slice(192, 64, dim=1).store(_decoded(c3, e3))
        c4, c5, c6 = raw.index(4).load(TILE), raw.index(5).load(TILE), raw.index(6).load(TILE)
        is_swa = tile + 1 < swa_tiles
        data, scales = _places(is_swa, slots, swa_page, extra_page, SWA_SIZE, EXTRA_SIZE)
        counts = slots >= 0
        pool = gl.where(is_swa, swa_pool, extra_pool)
        _copy_codes(raw, pool + gl.expand_dims(data, 1) + column, gl.expand_dims(counts, 1))
        slots = _slots_of(
            tile + 2,
            end,
            swa_tiles,
            swa_row,
            swa_len,
            swa_slots,
            extra_row,
            extra_len,
            extra_slots,
            ROW,
        )
        target.slice(256, 64, dim=1).store(_decoded(c4, e4))
        target.slice(320, 64, dim=1).store(_decoded(c5, e5))
        target.slice(384, 64, dim=1).store(_decoded(c6, e6))
        # The bf16 values of this tile have come; what was begun for the next may still be on its way.
        async_copy.wait_group(1)
        fence_async_shared()
        gl.thread_barrier()
        mbarrier.arrive(ready.index(buffer))
    async_copy.wait_group(0)


@gluon.jit
def _consume(
    keys, bias, ready, free, output, values, logs, q, sink, num_heads, factor,
    q_stride, out_stride, token, head0, split, first, end,
    SPLITS: gl.constexpr, HAS_SINK: gl.constexpr,
):  # fmt: skip
    """The running softmax over the tiles, then the output, or this split's part of it."""
    LOGITS: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 2], [16, KEYS // 2, 16])
    SUMS: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 2], [16, 256, 16])
    WEIGHTS: gl.constexpr = gl.DotOperandLayout(0, SUMS, 2)
    QUERY: gl.constexpr = gl.BlockedLayout([1, 8], [1, 32], [8, 1], [1, 0])
    queries = gl.allocate_shared_memory(gl.bfloat16, [HEADS, 512], gl.NVMMASharedLayout(128, 16, 2))
    head = gl.expand_dims(head0 + gl.arange(0, HEADS, gl.SliceLayout(1, QUERY)), 1)
    column = gl.expand_dims(gl.arange(0, 256, gl.SliceLayout(0, QUERY)), 0)
    place = q + token * q_stride + head * 512 + column
    for half in gl.static_range(2):
        async_copy.async_copy_global_to_shared(
            queries.slice(half * 256, 256, dim=1), place + half * 256, mask=head < num_heads
        )
    async_copy.commit_group()
    total = gl.zeros([HEADS, 512], gl.float32, SUMS)
    largest = gl.full([HEADS], float("-inf"), gl.float32, gl.SliceLayout(1, LOGITS))
    sums = gl.zeros([HEADS, KEYS], gl.float32, LOGITS)
    async_copy.wait_group(0)
    fence_async_shared()
    gl.thread_barrier()
    for tile in range(first, end):
        turn = tile - first
        buffer = turn % 2
        here = keys.index(buffer)
        mbarrier.wait(ready.index(buffer), (turn // 2) & 1)
        logits = gl.zeros([HEADS, KEYS], gl.float32, LOGITS)
        logits = warpgroup_mma(queries, here.permute((1, 0)), logits, use_acc=False, is_async=True)
        ignored = bias.index(buffer).load(gl.SliceLayout(0, LOGITS))
        logits = warpgroup_mma_wait(0, deps=[logits])
        logits = logits * factor + gl.expand_dims(ignored, 0)
        higher = gl.maximum(largest, gl.max(logits, 1))
        finite = gl.where(higher == float("-inf"), 0.0, higher)
        weights = gl.exp2(logits - gl.expand_dims(finite, 1))
        kept = gl.exp2(largest - finite)
        sums = sums * gl.expand_dims(kept, 1) + weights
        largest = higher
        total = total * gl.expand_dims(gl.convert_layout(kept, gl.SliceLayout(1, SUMS)), 1)
        weights = gl.convert_layout(weights, WEIGHTS)
        high = weights.to(gl.bfloat16)
        low = (weights - high.to(gl.float32)).to(gl.bfloat16)
        total = warpgroup_mma(high, here, total, is_async=True)
        total = warpgroup_mma(low, here, total, is_async=True)
        total = warpgroup_mma_wait(0, deps=[total])
        gl.thread_barrier()
        mbarrier.arrive(free.index(buffer))
    summed = gl.sum(sums, 1)
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
    inverse = gl.where(summed > 0, 1.0 / whole, 0.0)
    total = total * gl.expand_dims(gl.convert_layout(inverse, gl.SliceLayout(1, SUMS)), 1)
    head = gl.expand_dims(head0 + gl.arange(0, HEADS, gl.SliceLayout(1, SUMS)), 1)
    column = gl.expand_dims(gl.arange(0, 512, gl.SliceLayout(0, SUMS)), 0)
    if SPLITS == 1:
        place = output + token * out_stride + head * 512 + column
        gl.store(place, total.to(gl.bfloat16), mask=head < num_heads)
    else:
        place = values + ((token * SPLITS + split) * num_heads + head) * 512 + column
        gl.store(place, total, mask=head < num_heads)


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
    swa_len = gl.minimum(gl.load(swa_lens + token), swa_width)
    swa_tiles = (swa_len + KEYS - 1) // KEYS
    num_tiles = swa_tiles
    extra_len = 0
    if HAS_EXTRA:
        extra_len = gl.minimum(gl.load(extra_lens + token), extra_width)
        num_tiles += (extra_len + KEYS - 1) // KEYS
    split = gl.program_id(2)
    first = split * num_tiles // SPLITS
    end = (split + 1) * num_tiles // SPLITS
    keys = gl.allocate_shared_memory(gl.bfloat16, [2, KEYS, 512], gl.NVMMASharedLayout(128, 16, 2))
    bias = gl.allocate_shared_memory(gl.float32, [2, KEYS], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    raw = gl.allocate_shared_memory(
        gl.uint8, [7, KEYS, 64], gl.SwizzledSharedLayout(1, 1, 1, [1, 0])
    )
    ready = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    for buffer in gl.static_range(2):
        mbarrier.init(ready.index(buffer), count=1)
        mbarrier.init(free.index(buffer), count=1)
    gl.warp_specialize(
        [
            (_consume, (
                keys, bias, ready, free, output, values, logs, q, sink, num_heads, factor,
                q_stride, out_stride, token, gl.program_id(1) * HEADS, split, first, end,
                SPLITS, HAS_SINK,
            )),
            (_produce, (
                keys, bias, raw, ready, free,
                swa_pool, swa_indices + token * swa_row_stride, swa_len, swa_page,
                swa_slots, extra_pool, extra_indices + token * extra_row_stride, extra_len, extra_page,
                extra_slots, first, end, swa_tiles, SWA_SIZE, EXTRA_SIZE,
            )),
        ],
        [4],
        [PRODUCER_REGISTERS],
    )  # fmt: skip
