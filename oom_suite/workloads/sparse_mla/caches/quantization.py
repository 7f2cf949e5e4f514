"""The fp8 formats, and how keys are quantized to the caches and read back."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import UsageError

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.geometry.layouts import Layout


_LARGEST = {torch.float8_e4m3fn: 448.0, torch.float8_e4m3fnuz: 240.0}
_BIAS = {torch.float8_e4m3fn: 7, torch.float8_e4m3fnuz: 8}
_SIGN_BIT = 0x80
_ALL_BUT_SIGN = 0x7F


def largest_value(fp8_dtype: torch.dtype) -> float:
    """The largest finite value of an e4m3 format.

    Source: OCP 8-bit Floating Point Specification v1.0, table 1 (448 for e4m3fn); Noune et al.,
    arXiv 2206.02915 (240 for e4m3fnuz).

    Raises:
        UsageError: the dtype is not an e4m3 format.
    """
    if fp8_dtype not in _LARGEST:
        names = ", ".join(str(known) for known in _LARGEST)
        msg = f"fp8 dtype is {fp8_dtype}: choose from {names}"
        raise UsageError(msg)
    return _LARGEST[fp8_dtype]


def decode_table(fp8_dtype: torch.dtype) -> torch.Tensor:
    """The value of each of the 256 bytes, float64 [256], on the CPU.

    Source: as for `largest_value`. e4m3fn: bias 7, NaN at 0x7F and 0xFF. e4m3fnuz: bias 8, one
    NaN at 0x80 where a negative zero would be, no other special value.

    Raises:
        UsageError: the dtype is not an e4m3 format.
    """
    largest_value(fp8_dtype)
    return torch.tensor(_values(fp8_dtype), dtype=torch.float64, device="cpu")


@functools.cache
def _values(fp8_dtype: torch.dtype) -> tuple[float, ...]:
    return tuple(_decode(byte, fp8_dtype) for byte in range(256))


def _decode(byte: int, fp8_dtype: torch.dtype) -> float:
    sign = -1.0 if byte & _SIGN_BIT else 1.0
    exponent, mantissa = (byte >> 3) & 0xF, byte & 0x7
    if byte == _SIGN_BIT and fp8_dtype == torch.float8_e4m3fnuz:
        return math.nan
    if byte & _ALL_BUT_SIGN == _ALL_BUT_SIGN and fp8_dtype == torch.float8_e4m3fn:
        return math.nan
    bias = _BIAS[fp8_dtype]
    if exponent == 0:
        return sign * math.ldexp(mantissa, 1 - bias - 3)
    return sign * math.ldexp(8 + mantissa, exponent - bias - 3)


SMALLEST_MAX = 1e-4
"""Values below it are quantized as if the largest of their group were this large.

Source: vLLM 0.21.0 `v1/attention/ops/deepseek_v4_ops/cache_utils.py:98`.
"""

_HALF = 0.5
_UE8M0_BIAS = 127
_UE8M0_NAN = 255
"""Source: OCP Microscaling Formats (MX) v1.0, section 5.4.1."""


def quantize(
    keys: torch.Tensor, layout: Layout, fp8_dtype: torch.dtype = torch.float8_e4m3fn
) -> torch.Tensor:
    """The bytes of whole blocks that hold these keys.

    Each group of `layout.values_per_scale` nope values is divided by the least scale that
    brings its largest into fp8's range; for one-byte scales that is a power of two.

    Args:
        keys: float [num_blocks, block_size, head_dim], any device.
        layout: how a block's bytes are arranged.
        fp8_dtype: `torch.float8_e4m3fn` or `torch.float8_e4m3fnuz`; unused by bf16 layouts.

    Returns:
        uint8 [num_blocks, block_size * token_bytes], on the keys' device.

    Raises:
        UsageError: the keys' shape does not fit the layout, or the dtype is not an e4m3.
    """
    if keys.dim() != 3 or keys.shape[-1] != layout.head_dim:
        msg = (
            f"keys have shape {list(keys.shape)}: "
            f"{layout.name} takes [num_blocks, block_size, {layout.head_dim}]"
        )
        raise UsageError(msg)
    num_blocks, block_size, _ = keys.shape
    keys = keys.to(torch.float32)
    nope, rope = keys[..., : layout.nope_head_dim], keys[..., layout.nope_head_dim :]
    rope_bytes = _bytes(rope.to(torch.bfloat16))
    if not layout.scales_bytes:
        tokens = torch.cat([_bytes(nope.to(torch.bfloat16)), rope_bytes], dim=-1)
        return tokens.reshape(num_blocks, layout.block_bytes(block_size))
    nope_bytes, scale_bytes = _quantize_nope(nope, layout, fp8_dtype)
    if layout.scales_inline:
        tokens = torch.cat([nope_bytes, scale_bytes, rope_bytes], dim=-1)
        return tokens.reshape(num_blocks, layout.block_bytes(block_size))
    data = torch.cat([nope_bytes, rope_bytes], dim=-1)
    return torch.cat([data.flatten(1), scale_bytes.flatten(1)], dim=-1)


def dequantize(
    blocks: torch.Tensor,
    block_size: int,
    layout: Layout,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
) -> torch.Tensor:
    """The values that these blocks' bytes stand for.

    Args:
        blocks: uint8 [num_blocks, block_size * token_bytes] or wider (padding is ignored).
        block_size: tokens of one block.
        layout: how a block's bytes are arranged.
        fp8_dtype: the fp8 that the nope bytes are.

    Returns:
        float32 [num_blocks, block_size, head_dim], on the blocks' device.

    Raises:
        UsageError: the blocks are too short for the layout, or the dtype is not an e4m3.
    """
    used_bytes = layout.block_bytes(block_size)
    if blocks.dtype != torch.uint8 or blocks.dim() != 2 or blocks.shape[1] < used_bytes:
        msg = (
            f"blocks are {blocks.dtype} of shape {list(blocks.shape)}: {layout.name} takes "
            f"torch.uint8 of [num_blocks, at least {used_bytes}]"
        )
        raise UsageError(msg)
    nope_at = [layout.nope_offset_bytes(token) for token in range(block_size)]
    rope_at = [layout.rope_offset_bytes(token) for token in range(block_size)]
    rope = _decode_bf16(_columns(blocks, rope_at, layout.rope_bytes))
    nope_bytes = _columns(blocks, nope_at, layout.nope_bytes)
    if not layout.scales_bytes:
        return torch.cat([_decode_bf16(nope_bytes), rope], dim=-1)
    scale_at = [layout.scale_offset_bytes(token, block_size) for token in range(block_size)]
    used_scales_bytes = layout.num_scales * layout.scale_item_bytes
    scales = _decode_scales(_columns(blocks, scale_at, used_scales_bytes), layout)
    values = decode_table(fp8_dtype).to(blocks.device)[nope_bytes.long()]
    values *= scales.repeat_interleave(layout.values_per_scale, dim=-1)
    return torch.cat([values.to(torch.float32), rope], dim=-1)


def _quantize_nope(
    nope: torch.Tensor, layout: Layout, fp8_dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """The fp8 bytes and the scale bytes, uint8 [num_blocks, block_size, bytes] each."""
    limit = largest_value(fp8_dtype)
    # Division in float64 keeps a group whose largest is exactly a limit on the right side of it.
    shape = (*nope.shape[:-1], layout.num_scales, layout.values_per_scale)
    groups = nope.to(torch.float64).reshape(shape)
    needed = groups.abs().amax(-1).clamp_min(SMALLEST_MAX) / limit
    if layout.scale_item_bytes == 1:
        mantissa, exponent = torch.frexp(needed)
        # A mantissa of exactly one half is a power of two, which needs no rounding up.
        exponent = exponent - (mantissa <= _HALF).to(exponent.dtype)
        code = (exponent + _UE8M0_BIAS).clamp(0, _UE8M0_NAN - 1)
        scales = torch.ldexp(torch.ones_like(needed), code - _UE8M0_BIAS)
        scale_bytes = code.to(torch.uint8)
    else:
        scales = needed.to(torch.float32).to(torch.float64)
        scale_bytes = _bytes(needed.to(torch.float32))
    scaled = (groups / scales.unsqueeze(-1)).clamp(-limit, limit).to(torch.float32)
    pad = layout.scales_bytes - scale_bytes.shape[-1]
    return _bytes(scaled.flatten(-2).to(fp8_dtype)), torch.nn.functional.pad(scale_bytes, (0, pad))


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return values.contiguous().view(torch.uint8)


def _columns(blocks: torch.Tensor, starts: list[int], num_bytes: int) -> torch.Tensor:
    """The `num_bytes` bytes from each start, uint8 [num_blocks, len(starts), num_bytes]."""
    first = torch.tensor(starts, device=blocks.device)
    return blocks[:, first[:, None] + torch.arange(num_bytes, device=blocks.device)]


def _decode_bf16(data: torch.Tensor) -> torch.Tensor:
    """The bf16 values of little-endian byte pairs: the upper half of a float32."""
    pairs = data.to(torch.int32).reshape(*data.shape[:-1], data.shape[-1] // 2, 2)
    return ((pairs[..., 0] | (pairs[..., 1] << 8)) << 16).view(torch.float32)


def _decode_scales(data: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The scales, float64 [num_blocks, block_size, num_scales]."""
    if layout.scale_item_bytes == 1:
        ones = torch.ones_like(data, dtype=torch.float64)
        scales = torch.ldexp(ones, data.to(torch.int32) - _UE8M0_BIAS)
        return scales.masked_fill(data == _UE8M0_NAN, torch.nan)
    quads = data.to(torch.int32).reshape(*data.shape[:-1], data.shape[-1] // 4, 4)
    bits = quads[..., 0] | (quads[..., 1] << 8) | (quads[..., 2] << 16) | (quads[..., 3] << 24)
    return bits.view(torch.float32).to(torch.float64)
