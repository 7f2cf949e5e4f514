"""The two e4m3 formats, byte by byte, from their definitions and not from torch's conversions."""

from __future__ import annotations

import functools
import math

import torch

from oom_suite.errors import UsageError

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
