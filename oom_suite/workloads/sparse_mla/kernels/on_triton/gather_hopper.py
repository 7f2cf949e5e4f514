"""The gathers for NVIDIA's Hopper: rows decoded into shared memory, and copied out of it whole.

A warp takes four rows. A row in shared memory begins 64 bytes behind a multiple of 128, where in
`out` it begins at one: a whole row copied so was faster on an H200 than one that its threads store
(109 us for 111 at 262,144 rows), and one copied from a multiple of 128 was not.

It needs data and scales of a token at multiples of 16 and 8 bytes, as pages of vLLM's have them,
and rows of `out` at multiples of 16.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, tma

from oom_suite.workloads.sparse_mla.kernels.on_triton.gluon_names import barrier

ROWS = gl.constexpr(4)
"""Rows of a program, which is one warp."""
_TILE = gl.constexpr(gl.BlockedLayout([1, 8], [1, 32], [1, 1], [1, 0]))
_ROW = gl.constexpr(gl.SliceLayout(1, gl.BlockedLayout([1, 8], [1, 32], [1, 1], [1, 0])))


@gluon.jit
def _scaled(codes, exponents):
    """fp8 values times two to the power of their exponents less 127, bfloat16: exact."""
    bits = exponents << 23
    # The smallest is no normal number of float32.
    bits = gl.where(exponents == 0, 0x00400000, bits)
    bits = gl.where(exponents == 255, 0x7FC00000, bits)
    values = codes.to(gl.float8e4nv, bitcast=True).to(gl.float32)
    return (values * bits.to(gl.float32, bitcast=True)).to(gl.bfloat16)


@gluon.jit
def _copy_out(targets, counts):
    """Copy the rows that count out of shared memory, 1,024 bytes each; a thread begins each.

    Gluon has no word for it in Triton 3.6. Rows are 64 bytes behind the first thing that a kernel
    has in shared memory, and these kernels have no other.
    """
    gl.inline_asm_elementwise(
        """{
        .reg .pred begins; .reg .b32 thread, row;
        mov.u32 thread, %tid.x;
        mov.b32 row, global_smem;
        mad.lo.u32 row, $2, 1024, row;
        setp.ne.b32 begins, $3, 0;
        setp.eq.and.b32 begins, thread, $2, begins;
        @begins cp.async.bulk.global.shared::cta.bulk_group [$1], [row+64], 1024;
        @begins cp.async.bulk.commit_group;
        mov.b32 $0, 0;
        }""", "=r,l,r,r,~{memory}",
        [targets.to(gl.int64), gl.arange(0, ROWS, _ROW), counts.to(gl.int32)],
        dtype=gl.int32, is_pure=False, pack=1,
    )  # fmt: skip
    # What they read must stay until they have.
    tma.store_wait(0)


@gluon.jit
def _store_rows(
    out, pool, rows, slots, num_slots, row_stride, page_bytes,
    BLOCK_SIZE: gl.constexpr, KEPT: gl.constexpr,
):  # fmt: skip
    """Decode the tokens of `slots` into `rows` of `out`; slots that there are not are left alone.

    `KEPT` is what the cache does with scales: 64 bytes come at once, those of eight tokens, which
    rows in no order want again.
    """
    memory = gl.allocate_shared_memory(
        gl.bfloat16, [ROWS * 16 + 1, 32], gl.SwizzledSharedLayout(1, 1, 1, [0])
    ).index(1)
    staged = memory._reinterpret(gl.bfloat16, [ROWS, 512], gl.SwizzledSharedLayout(1, 1, 1, [1, 0]))
    counts = (slots >= 0) & (slots < num_slots)
    slots = gl.where(counts, slots, 0)
    offset = slots % BLOCK_SIZE
    page = pool + (slots // BLOCK_SIZE).to(gl.int64) * page_bytes
    scales = gl.load(
        (page + BLOCK_SIZE * 576 + offset * 8).to(gl.pointer_type(gl.int64)),
        mask=counts, other=0, eviction_policy=KEPT,
    )  # fmt: skip
    data = page + offset * 576
    mask = gl.expand_dims(counts, 1)
    column = gl.expand_dims(gl.arange(0, 256, gl.SliceLayout(0, _TILE)), 0)
    is_nope = column < 192
    first = gl.load(gl.expand_dims(data, 1) + column, mask=mask, other=0)
    second = gl.load(gl.expand_dims(data, 1) + (256 + column), mask=mask & is_nope, other=0)
    rope = (data + 448).to(gl.pointer_type(gl.bfloat16))
    rope = gl.load(gl.expand_dims(rope, 1) + (column - 192), mask=mask & (column >= 192), other=0.0)
    low, high = scales.to(gl.int32), (scales >> 32).to(gl.int32)
    shift = column // 64 * 8
    staged.slice(0, 256, dim=1).store(_scaled(first, (gl.expand_dims(low, 1) >> shift) & 255))
    nope = _scaled(second, (gl.expand_dims(high, 1) >> shift) & 255)
    staged.slice(256, 256, dim=1).store(gl.where(is_nope, nope, rope))
    fence_async_shared()
    barrier()
    _copy_out(out + rows.to(gl.int64) * row_stride, counts)


@gluon.jit
def gather_sparse_kernel(
    out, pool, slot_indices, slot_stride, num_rows, num_slots, row_stride, page_bytes,
    BLOCK_SIZE: gl.constexpr,
):  # fmt: skip
    """A row of `out` for each slot."""
    rows = gl.program_id(0) * ROWS + gl.arange(0, ROWS, _ROW)
    slots = gl.load(slot_indices + rows * slot_stride, mask=rows < num_rows, other=-1)
    _store_rows(out, pool, rows, slots, num_slots, row_stride, page_bytes, BLOCK_SIZE, "evict_last")


@gluon.jit
def gather_dense_kernel(
    out, pool, seq_lens, wanted_lens, block_table, request_stride, row_stride, table_stride,
    table_column_stride, table_width, page_bytes, num_slots, first_row, num_rows,
    BLOCK_SIZE: gl.constexpr,
):  # fmt: skip
    """The last `wanted_lens` tokens of each request, found through its row of the block table."""
    request = gl.program_id(1).to(gl.int64)
    wanted = gl.load(wanted_lens + request)
    if gl.program_id(0) * ROWS < wanted:
        row = gl.program_id(0) * ROWS + gl.arange(0, ROWS, _ROW)
        token = gl.load(seq_lens + request) - wanted + row
        counts = (row < gl.minimum(wanted, num_rows)) & (token >= 0)
        counts &= token // BLOCK_SIZE < table_width
        column = (token // BLOCK_SIZE).to(gl.int64) * table_column_stride
        block = gl.load(block_table + request * table_stride + column, mask=counts, other=0)
        slots = gl.where(counts, block.to(gl.int64) * BLOCK_SIZE + token % BLOCK_SIZE, -1)
        start = out + request * request_stride
        rows = first_row + row
        _store_rows(start, pool, rows, slots, num_slots, row_stride, page_bytes, BLOCK_SIZE, "")
