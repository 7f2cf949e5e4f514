"""What takes the place of a function that the reference kernels call; see `kernel_pieces`.

Each has the name of a fault or of a twin, and the parameters of the function that it replaces, in
`oom_suite.workloads.sparse_mla.kernels.on_triton`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from oom_suite.workloads.sparse_mla.kernels.on_triton.decode import store_heads
from oom_suite.workloads.sparse_mla.kernels.on_triton.stored import (
    SCALES_BYTES,
    TOKEN_BYTES,
    nope_tile,
    powers,
    widened,
)


@triton.jit
def _within(page, slots, BLOCK_SIZE: tl.constexpr):
    """Where data and scales of the slots begin, of pages that begin there."""
    offset = slots % BLOCK_SIZE
    data = page + offset * TOKEN_BYTES
    return data, page + BLOCK_SIZE * TOKEN_BYTES + offset * SCALES_BYTES


@triton.jit
def page_in_int32(slots, page_bytes, BLOCK_SIZE: tl.constexpr):
    """`places` by the low 31 bits of a page's first byte: a wrong page, and one that there is."""
    block = slots // BLOCK_SIZE
    page = (block.to(tl.int64) * page_bytes) & 0x7FFFFFFF
    return _within(page, slots, BLOCK_SIZE)


@triton.jit
def page_in_sixteens(slots, page_bytes, BLOCK_SIZE: tl.constexpr):
    """`places` by the low 31 bits of a page's number of 16 bytes, which reach to 32 GiB."""
    block = slots // BLOCK_SIZE
    page = (block.to(tl.int64) * (page_bytes // 16)) & 0x7FFFFFFF
    return _within(page * 16, slots, BLOCK_SIZE)


@triton.jit
def _with_scales(
    pool, data, scales, counts, FIRST: tl.constexpr, GROUPS: tl.constexpr, IS_FNUZ: tl.constexpr,
    NUM_SCALES: tl.constexpr,
):  # fmt: skip
    """`nope_tile`, to which so many of a token's eight bytes of scales are added, times zero."""
    values = nope_tile(pool, data, scales, counts, FIRST, GROUPS, IS_FNUZ)
    byte = tl.arange(0, 8)
    mask = counts[:, None] & (byte < NUM_SCALES)[None, :]
    exponents = tl.load(pool + scales[:, None] + byte[None, :], mask=mask, other=127)
    nothing = tl.sum(powers(exponents) * 0.0, 1)
    return (values.to(tl.float32) + nothing[:, None]).to(tl.bfloat16)


@triton.jit
def eight_scales(
    pool, data, scales, counts, FIRST: tl.constexpr, GROUPS: tl.constexpr, IS_FNUZ: tl.constexpr
):  # fmt: skip
    """With the pad byte among them."""
    return _with_scales(pool, data, scales, counts, FIRST, GROUPS, IS_FNUZ, 8)


@triton.jit
def seven_scales_of_eight(
    pool, data, scales, counts, FIRST: tl.constexpr, GROUPS: tl.constexpr, IS_FNUZ: tl.constexpr
):  # fmt: skip
    """With the pad byte masked."""
    return _with_scales(pool, data, scales, counts, FIRST, GROUPS, IS_FNUZ, 7)


@triton.jit
def one_scale_for_a_tile(
    pool, data, scales, counts, FIRST: tl.constexpr, GROUPS: tl.constexpr, IS_FNUZ: tl.constexpr
):  # fmt: skip
    """`nope_tile` whose groups of 64 all have the scale of the first."""
    column = tl.arange(0, 64 * GROUPS)
    codes = tl.load(pool + data[:, None] + (FIRST + column)[None, :], mask=counts[:, None], other=0)
    exponents = tl.load(pool + scales + FIRST // 64, mask=counts, other=0)
    return (widened(codes, IS_FNUZ) * powers(exponents)[:, None]).to(tl.bfloat16)


@triton.jit
def product_in_bf16(
    pool, data, scales, counts, FIRST: tl.constexpr, GROUPS: tl.constexpr, IS_FNUZ: tl.constexpr
):  # fmt: skip
    """`nope_tile` that rounds both factors to bf16, which hold them exactly."""
    NUM: tl.constexpr = data.shape[0]
    column = tl.arange(0, 64 * GROUPS)
    codes = tl.load(pool + data[:, None] + (FIRST + column)[None, :], mask=counts[:, None], other=0)
    group = FIRST // 64 + tl.arange(0, GROUPS)
    exponents = tl.load(pool + scales[:, None] + group[None, :], mask=counts[:, None], other=0)
    values = tl.reshape(widened(codes, IS_FNUZ).to(tl.bfloat16), (NUM, GROUPS, 64))
    product = values * powers(exponents).to(tl.bfloat16)[:, :, None]
    return tl.reshape(product, (NUM, 64 * GROUPS))


@triton.jit
def fnuz_read_as_fn(codes, IS_FNUZ: tl.constexpr):
    """`widened` that knows one fp8."""
    return codes.to(tl.float8e4nv, bitcast=True).to(tl.float32)


@triton.jit
def weights_in_bf16(weights, low, values, total):
    """`_weighted` without what bf16 leaves of a weight."""
    return tl.dot(weights, values, total)


@triton.jit
def sums_cut_to_bf16(weights, low, values, total):
    """`_weighted` that keeps the upper 16 bits of the sum after every tile."""
    total = tl.dot(low, values, tl.dot(weights, values, total))
    return (total.to(tl.int32, bitcast=True) & -65536).to(tl.float32, bitcast=True)


@triton.jit
def heads_of_the_tile(target, a0, a1, a2, a3, factor, mask):
    """`store_heads` of every head that a program has room for."""
    store_heads(target, a0, a1, a2, a3, factor, mask | (factor == factor)[:, None])


@triton.jit
def rows_with_keys(target, a0, a1, a2, a3, factor, mask):
    """`store_heads` of what has a sum of weights."""
    store_heads(target, a0, a1, a2, a3, factor, mask & (factor > 0.0)[:, None])


@triton.jit
def heads_of_the_query(target, a0, a1, a2, a3, factor, mask):
    """`store_heads` of every head, and of the rows without keys by a store of their own."""
    is_empty = (factor == 0.0)[:, None]
    store_heads(target, a0, a1, a2, a3, factor, mask & (is_empty == 0))
    store_heads(target, a0, a1, a2, a3, factor, mask & is_empty)


@triton.jit
def _bits_of_bytes(words):
    """In each byte of int32 words, as uint32, how many of its bits are set."""
    bits = words.to(tl.uint32, bitcast=True)
    bits = bits - ((bits >> 1) & 0x55555555)
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    return (bits + (bits >> 4)) & 0x0F0F0F0F


@triton.jit
def bits_of_the_low_byte(words):
    """`popcount` that takes the sum over four bytes from the wrong end of the product."""
    return ((_bits_of_bytes(words) * 0x01010101) & 0xFF).to(tl.int32)


@triton.jit
def bits_byte_by_byte(words):
    """`popcount` without the product."""
    bits = _bits_of_bytes(words)
    bits = bits + (bits >> 8)
    return ((bits + (bits >> 16)) & 0x3F).to(tl.int32)
