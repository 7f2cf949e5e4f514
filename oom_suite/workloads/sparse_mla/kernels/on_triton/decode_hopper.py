"""The decode kernel for NVIDIA's Hopper: warps that decode, warps that weigh, warps that sum.

Sixteen warps share a program of 64 heads, and a tile has 64 keys. Four copy stored keys ahead and
decode them into one of two buffers; four multiply them with the queries and keep the running
softmax; eight add the weighted keys up. So no warp holds more than one of these at a time, and none
of them waits for its own. It needs data and scales of a token at multiples of 16 and 8 bytes, as
pages of vLLM's have them.

Where tokens are few, several programs share the keys of each, as a cluster. They read each other's
sums out of each other's shared memory, so that nothing is kept anywhere else.

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

from oom_suite.workloads.sparse_mla.kernels.on_triton.cluster import (
    arrive,
    four_of_program,
    memory_of,
    of_program,
    stay,
    trap_where_unlike,
    wait,
)
from oom_suite.workloads.sparse_mla.kernels.on_triton.gluon_names import barrier
from oom_suite.workloads.sparse_mla.kernels.on_triton.keys_hopper import KEYS, produce_keys

HEADS = gl.constexpr(64)
LOG2_E = gl.constexpr(1.4426950408889634)
# Registers of a thread that weighs and of one that decodes. Shared memory leaves the L1 cache so
# little that a value kept in memory for want of registers costs a way to the L2: with these there
# is none, and with eight more for each the warps that sum have too few.
WEIGHING_REGISTERS, DECODING_REGISTERS = gl.constexpr(96), gl.constexpr(80)
QUERIES_BYTE = gl.constexpr(2 * 64 * 512 * 2)
"""Where a program's queries lie in its shared memory: behind two tiles of keys."""


@gluon.jit
def _weigh(
    queries, keys, bias, highs, lows, factors, ready, weighed, taken, q, sink, num_heads, factor,
    q_stride, token, head0, rank, first, end, PROGRAMS: gl.constexpr, HAS_SINK: gl.constexpr,
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
    barrier()
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
        barrier()
        mbarrier.arrive(weighed)
    finite = gl.where(largest == float("-inf"), 0.0, largest)
    log = gl.where(summed > 0, finite + gl.log2(summed), float("-inf"))
    head = gl.arange(0, HEADS, gl.SliceLayout(1, LOGITS))
    base, whole = _of_all(queries, log, head, rank, PROGRAMS)
    if HAS_SINK:
        weight = gl.load(sink + head0 + head, mask=head0 + head < num_heads, other=0.0) * LOG2_E
        whole += gl.exp2(weight - base)
    mbarrier.wait(taken, (gl.maximum(end - first, 0) & 1) ^ 1)
    factors.store(gl.where(summed > 0, gl.exp2(finite - base) / whole, 0.0))
    barrier()
    mbarrier.arrive(weighed)
    stay(PROGRAMS, 2)


@gluon.jit
def _of_all(queries, log, head, rank, PROGRAMS: gl.constexpr):
    """What the weights of all programs are relative to, and their sum, float32 [HEADS] each."""
    highest = log
    if PROGRAMS > 1:
        # Nobody needs the queries any more.
        queries._reinterpret(gl.float32, [HEADS], gl.SwizzledSharedLayout(1, 1, 1, [0])).store(log)
        arrive()
        wait()
        at = QUERIES_BYTE + head * 4
        trap_where_unlike(log, of_program(memory_of(rank), at))
        for other in gl.static_range(PROGRAMS):
            highest = gl.maximum(highest, of_program(memory_of(other), at))
    base = gl.where(highest == float("-inf"), 0.0, highest)
    whole = gl.exp2(log - base)
    if PROGRAMS > 1:
        whole = gl.zeros_like(log)
        for other in gl.static_range(PROGRAMS):
            whole += gl.exp2(of_program(memory_of(other), at) - base)
    return base, whole


@gluon.jit
def _sum(
    memory, highs, lows, factors, weighed, taken, free, output, num_heads, out_stride, token, head0,
    rank, first, end, ROWS: gl.constexpr, PROGRAMS: gl.constexpr,
):  # fmt: skip
    """The weighted sum of the keys; of several programs each adds up a slice of all of theirs."""
    if PROGRAMS > 1:
        # Their logarithms are exchanged while the last tile is added up.
        arrive()
    SUMS: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 2], [16, 128, 16])
    EACH: gl.constexpr = gl.SliceLayout(1, SUMS)
    total = gl.zeros([HEADS, 512], gl.float32, SUMS)
    for tile in range(first, end):
        turn = tile - first
        here = memory.index(turn % 2)
        mbarrier.wait(weighed, turn & 1)
        total = total * gl.expand_dims(factors.load(EACH), 1)
        total = warpgroup_mma(highs, here, total, is_async=True)
        total = warpgroup_mma(lows, here, total, is_async=True)
        total = warpgroup_mma_wait(0, deps=[total])
        barrier()
        mbarrier.arrive(taken)
        mbarrier.arrive(free.index(turn % 2))
    mbarrier.wait(weighed, gl.maximum(end - first, 0) & 1)
    total = total * gl.expand_dims(factors.load(EACH), 1)
    place = output + token * out_stride
    if PROGRAMS == 1:
        _store_whole(memory, total, place, head0, num_heads, ROWS)
    else:
        wait()
        _store_slice(memory, total, place, head0, num_heads, rank, ROWS, PROGRAMS)


@gluon.jit
def _store_whole(memory, total, place, head0, num_heads, ROWS: gl.constexpr):
    """Store all values, by way of the keys' memory, which nobody needs any more: as whole rows."""
    OUT: gl.constexpr = gl.BlockedLayout([1, 8], [1, 32], [8, 1], [1, 0])
    staged = memory._reinterpret(gl.bfloat16, [HEADS, 512], gl.NVMMASharedLayout(128, 16, 2))
    staged.store(total.to(gl.bfloat16))
    barrier()
    for part in gl.static_range(2):
        rows = staged.slice(0, ROWS, dim=0).slice(part * 256, 256, dim=1).load(OUT)
        _store_rows(place + part * 256, rows, head0, num_heads, OUT)


@gluon.jit
def _store_slice(
    memory, total, place, head0, num_heads, rank, ROWS: gl.constexpr, PROGRAMS: gl.constexpr
):
    """Store the sum of all programs for this one's share of the values."""
    WIDTH: gl.constexpr = 512 // PROGRAMS
    # A slice of eight programs has 64 values of a head: half a warp reads them.
    LANES: gl.constexpr = min(WIDTH, 128) // 4
    SLICE: gl.constexpr = gl.BlockedLayout([1, 4], [32 // LANES, LANES], [8, 1], [1, 0])
    swizzled: gl.constexpr = gl.SwizzledSharedLayout(8, 1, 8, [1, 0])
    memory._reinterpret(gl.float32, [HEADS, 512], swizzled).store(total)
    arrive()
    wait()
    head = gl.expand_dims(gl.arange(0, ROWS, gl.SliceLayout(1, SLICE)), 1)
    column = rank * WIDTH + gl.expand_dims(gl.arange(0, WIDTH, gl.SliceLayout(0, SLICE)), 0)
    at = head * 2048 + ((column // 8) ^ (head % 8)) * 32 + column % 8 * 4
    rows = gl.zeros([ROWS, WIDTH], gl.float32, SLICE)
    for other in gl.static_range(PROGRAMS):
        rows += four_of_program(memory_of(other), at)
    arrive()
    _store_rows(place + rank * WIDTH, rows.to(gl.bfloat16), head0, num_heads, SLICE)
    # Nobody leaves while another may still read from here.
    wait()


@gluon.jit
def _store_rows(place, rows, head0, num_heads, LAYOUT: gl.constexpr):
    """Store values of each head, [heads, values], where there are that many heads."""
    head = gl.expand_dims(head0 + gl.arange(0, rows.shape[0], gl.SliceLayout(1, LAYOUT)), 1)
    column = gl.expand_dims(gl.arange(0, rows.shape[1], gl.SliceLayout(0, LAYOUT)), 0)
    gl.store(place + head * 512 + column, rows, mask=head < num_heads)


@gluon.jit
def decode_kernel(
    output, q,
    swa_pool, swa_indices, swa_lens, swa_row_stride, swa_width, swa_page, swa_slots,
    extra_pool, extra_indices, extra_lens, extra_row_stride, extra_width, extra_page, extra_slots,
    sink, num_heads, factor, q_stride, out_stride,
    SWA_SIZE: gl.constexpr, EXTRA_SIZE: gl.constexpr, HAS_EXTRA: gl.constexpr,
    HAS_SINK: gl.constexpr, ROWS: gl.constexpr, PROGRAMS: gl.constexpr,
):  # fmt: skip
    """A share of one token and 64 heads: grid [num_tokens * PROGRAMS, num_heads / 64]."""
    token = (gl.program_id(0) // PROGRAMS).to(gl.int64)
    rank = gl.program_id(0) % PROGRAMS
    head0 = gl.program_id(1) * HEADS
    swa_len = gl.minimum(gl.load(swa_lens + token), swa_width)
    swa_tiles = (swa_len + KEYS - 1) // KEYS
    num_tiles = swa_tiles
    extra_len = 0
    if HAS_EXTRA:
        extra_len = gl.minimum(gl.load(extra_lens + token), extra_width)
        num_tiles += (extra_len + KEYS - 1) // KEYS
    first = rank * num_tiles // PROGRAMS
    end = (rank + 1) * num_tiles // PROGRAMS
    WIDE: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    PLAIN: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [1, 0])
    LINE: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [0])
    # Two tiles of keys, then the queries: one piece, and the first.
    memory = gl.allocate_shared_memory(gl.bfloat16, [3, 64, 512], WIDE)
    queries = memory.index(2)
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
                memory, highs, lows, factors, weighed, taken, free, output, num_heads, out_stride,
                token, head0, rank, first, end, ROWS, PROGRAMS,
            )),
            (_weigh, (
                queries, memory, bias, highs, lows, factors, ready, weighed, taken, q, sink,
                num_heads, factor, q_stride, token, head0, rank, first, end, PROGRAMS, HAS_SINK,
            )),
            (produce_keys, (
                memory, bias, raw0, raw1, raw2, raw3, ready, free,
                swa_pool, swa_indices + token * swa_row_stride, swa_len, swa_page, swa_slots,
                extra_pool, extra_indices + token * extra_row_stride, extra_len, extra_page,
                extra_slots, first, end, swa_tiles, SWA_SIZE, EXTRA_SIZE, PROGRAMS,
            )),
        ],
        [4, 4],
        [WEIGHING_REGISTERS, DECODING_REGISTERS],
    )  # fmt: skip
