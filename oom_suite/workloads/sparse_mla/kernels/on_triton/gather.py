"""Decodes the tokens of given slots into rows of bf16, on CUDA and HIP."""

from __future__ import annotations

import triton
import triton.language as tl

from oom_suite.workloads.sparse_mla.kernels.on_triton.stored import nope_tile, places, rope_tile


@triton.jit
def _store_rows(
    out,
    pool,
    rows,
    slots,
    num_slots,
    row_stride,
    page_bytes,
    BLOCK_SIZE: tl.constexpr,
    IS_FNUZ: tl.constexpr,
):
    """Decode the tokens of `slots` into `rows` of `out`; slots that there are not are left alone."""
    counts = (slots >= 0) & (slots < num_slots)
    data, scales = places(tl.where(counts, slots, 0), page_bytes, BLOCK_SIZE)
    target = out + rows.to(tl.int64)[:, None] * row_stride
    mask = counts[:, None]
    first = nope_tile(pool, data, scales, counts, 0, 4, IS_FNUZ)
    second = nope_tile(pool, data, scales, counts, 256, 2, IS_FNUZ)
    third = nope_tile(pool, data, scales, counts, 384, 1, IS_FNUZ)
    rope = rope_tile(pool, data, counts)
    tl.store(target + tl.arange(0, 256)[None, :], first, mask=mask)
    tl.store(target + (256 + tl.arange(0, 128))[None, :], second, mask=mask)
    tl.store(target + (384 + tl.arange(0, 64))[None, :], third, mask=mask)
    tl.store(target + (448 + tl.arange(0, 64))[None, :], rope, mask=mask)


@triton.jit
def gather_sparse_kernel(
    out,
    pool,
    slot_indices,
    slot_stride,
    num_rows,
    num_slots,
    row_stride,
    page_bytes,
    BLOCK_SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    IS_FNUZ: tl.constexpr,
):
    """A row of `out` for each slot."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    slots = tl.load(slot_indices + rows * slot_stride, mask=rows < num_rows, other=-1)
    _store_rows(out, pool, rows, slots, num_slots, row_stride, page_bytes, BLOCK_SIZE, IS_FNUZ)


@triton.jit
def gather_dense_kernel(
    out,
    pool,
    seq_lens,
    wanted_lens,
    block_table,
    request_stride,
    row_stride,
    table_stride,
    table_column_stride,
    table_width,
    page_bytes,
    num_slots,
    first_row,
    num_rows,
    BLOCK_SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    IS_FNUZ: tl.constexpr,
):
    """The last `wanted_lens` tokens of each request, found through its row of the block table."""
    request = tl.program_id(1).to(tl.int64)
    length = tl.load(seq_lens + request)
    wanted = tl.load(wanted_lens + request)
    first = tl.program_id(0) * ROWS
    if first < wanted:
        row = first + tl.arange(0, ROWS)
        token = length - wanted + row
        counts = (row < tl.minimum(wanted, num_rows)) & (token >= 0)
        counts &= token // BLOCK_SIZE < table_width
        column = (token // BLOCK_SIZE).to(tl.int64) * table_column_stride
        block = tl.load(block_table + request * table_stride + column, mask=counts, other=0)
        slots = tl.where(counts, block.to(tl.int64) * BLOCK_SIZE + token % BLOCK_SIZE, -1)
        start = out + request * request_stride
        _store_rows(
            start,
            pool,
            first_row + row,
            slots,
            num_slots,
            row_stride,
            page_bytes,
            BLOCK_SIZE,
            IS_FNUZ,
        )
