"""Stored keys for the decode kernel of NVIDIA's Hopper, decoded into shared memory ahead of it."""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    async_copy,
    fence_async_shared,
    mbarrier,
)

from oom_suite.workloads.sparse_mla.kernels.on_triton.cluster import stay
from oom_suite.workloads.sparse_mla.kernels.on_triton.gluon_names import barrier

KEYS = gl.constexpr(64)
"""Keys of a tile."""


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
def produce_keys(
    keys, bias, raw0, raw1, raw2, raw3, ready, free,
    swa_pool, swa_row, swa_len, swa_page, swa_slots,
    extra_pool, extra_row, extra_len, extra_page, extra_slots, first, end, swa_tiles,
    SWA_SIZE: gl.constexpr, EXTRA_SIZE: gl.constexpr, PROGRAMS: gl.constexpr,
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
        barrier()
        mbarrier.arrive(ready.index(buffer))
    async_copy.wait_group(0)
    stay(PROGRAMS, 3)
