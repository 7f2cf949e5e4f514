"""How a kernel reads stored tokens: fp8 values with their scales, and bf16 values beside them."""

from __future__ import annotations

import triton
import triton.language as tl

TOKEN_BYTES = tl.constexpr(576)
"""Data of one token: 448 fp8 values, then 64 bf16 values."""
ROPE_BYTE = tl.constexpr(448)
"""Where the bf16 values begin, and how many fp8 values there are."""
SCALES_BYTES = tl.constexpr(8)
"""Scales of one token: 7 ue8m0, one for each 64 fp8 values, and a pad byte."""


@triton.jit
def places(slots, page_bytes, BLOCK_SIZE: tl.constexpr):
    """Bytes from the pool's start at which the slots' data and their scales begin.

    64 bits: a pool of 4 GiB is an ordinary one.
    """
    block = slots // BLOCK_SIZE
    offset = slots % BLOCK_SIZE
    page = block.to(tl.int64) * page_bytes
    data = page + offset * TOKEN_BYTES
    scales = page + BLOCK_SIZE * TOKEN_BYTES + offset * SCALES_BYTES
    return data, scales


@triton.jit
def widened(codes, IS_FNUZ: tl.constexpr):
    """The values of fp8 codes as float32: e4m3fn, or e4m3fnuz, which not every GPU converts."""
    if IS_FNUZ:
        # The same bits under a bias that is one larger; a negative zero is the one NaN.
        half = ((codes & 0x80).to(tl.uint16) << 8) | ((codes & 0x7F).to(tl.uint16) << 7)
        values = half.to(tl.float16, bitcast=True).to(tl.float32) * 128.0
        return tl.where(codes == 0x80, float("nan"), values)
    return codes.to(tl.float8e4nv, bitcast=True).to(tl.float32)


@triton.jit
def powers(exponents):
    """The ue8m0 scales as float32: two to the power of a byte less 127; 255 is NaN."""
    bits = exponents.to(tl.int32) << 23
    # The smallest is no normal number of float32.
    bits = tl.where(exponents == 0, 0x00400000, bits)
    bits = tl.where(exponents == 255, 0x7FC00000, bits)
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def nope_tile(
    pool,
    data,
    scales,
    counts,
    FIRST: tl.constexpr,
    GROUPS: tl.constexpr,
    IS_FNUZ: tl.constexpr,
):
    """Some of the fp8 values of tokens, decoded: bfloat16 [num_tokens, 64 * GROUPS].

    Every product is exact: an fp8 value times a power of two is one of bf16.

    Args:
        pool: pointer to uint8.
        data: from `places`, int64 [num_tokens].
        scales: likewise.
        counts: bool [num_tokens]; nothing is loaded of the others, which are zero.
        FIRST: the first value, a multiple of 64.
        GROUPS: how many times 64 values, a power of two.
        IS_FNUZ: which fp8.
    """
    NUM: tl.constexpr = data.shape[0]
    column = tl.arange(0, 64 * GROUPS)
    where = pool + data[:, None] + (FIRST + column)[None, :]
    # Eight of them are 16 bytes when they are decoded: a thread loads what it can store at once.
    codes = tl.load(tl.max_contiguous(where, [1, 8]), mask=counts[:, None], other=0)
    group = tl.arange(0, GROUPS)
    exponents = tl.load(
        pool + scales[:, None] + (FIRST // 64 + group)[None, :], mask=counts[:, None], other=0
    )
    values = tl.reshape(widened(codes, IS_FNUZ), (NUM, GROUPS, 64))
    return tl.reshape(values * powers(exponents)[:, :, None], (NUM, 64 * GROUPS)).to(tl.bfloat16)


@triton.jit
def rope_tile(pool, data, counts):
    """The bf16 values of tokens, as stored: bfloat16 [num_tokens, 64]; zero where none counts."""
    column = tl.arange(0, 64)
    first = (pool + data + ROPE_BYTE).to(tl.pointer_type(tl.bfloat16))
    return tl.load(first[:, None] + column[None, :], mask=counts[:, None], other=0.0)
