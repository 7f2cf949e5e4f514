"""Quantized blocks hold what they should, and the independent decoder reads them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.caches import dequantize, quantize
from oom_suite.workloads.sparse_mla.caches.quantization import decode_table, largest_value
from oom_suite.workloads.sparse_mla.geometry import BF16, FP8_DS_MLA_V4, FP8_DS_MLA_V32

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.geometry import Layout

FP8 = [torch.float8_e4m3fn, torch.float8_e4m3fnuz]
HALF_SUBNORMAL = {torch.float8_e4m3fn: 2.0**-10, torch.float8_e4m3fnuz: 2.0**-11}


def _keys(layout: Layout, num_blocks: int = 3, block_size: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (num_blocks, block_size, layout.head_dim)
    magnitude = 10.0 ** torch.randint(-6, 4, (num_blocks, block_size, 1), generator=generator)
    return torch.randn(shape, generator=generator) * magnitude


@pytest.mark.parametrize("fp8_dtype", FP8, ids=["fn", "fnuz"])
def test_decode_table_agrees_with_torch_on_every_byte(fp8_dtype: torch.dtype) -> None:
    """The table made from the format's definition is torch's own conversion of all 256 bytes."""
    expected = torch.arange(256, dtype=torch.uint8).view(fp8_dtype).to(torch.float64)
    actual = decode_table(fp8_dtype)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    assert largest_value(fp8_dtype) == actual.nan_to_num(0).max().item()


@pytest.mark.parametrize("fp8_dtype", FP8, ids=["fn", "fnuz"])
def test_v4_round_trip_stays_within_half_an_fp8_step(fp8_dtype: torch.dtype) -> None:
    """Nope comes back to 2**-4 of itself or half a subnormal step, rope to bf16's 2**-8."""
    keys = _keys(FP8_DS_MLA_V4)
    actual = dequantize(quantize(keys, FP8_DS_MLA_V4, fp8_dtype), 4, FP8_DS_MLA_V4, fp8_dtype)
    nope, error = keys[..., :448], (actual - keys).abs()
    # The scale is below twice what the group's largest value needs.
    largest = nope.abs().reshape(3, 4, 7, 64).amax(-1).clamp_min(1e-4)
    scale = (2 * largest / largest_value(fp8_dtype)).repeat_interleave(64, dim=-1)
    allowed = torch.maximum(nope.abs() * 2.0**-4, scale * HALF_SUBNORMAL[fp8_dtype])
    assert (error[..., :448] <= allowed).all()
    assert (error[..., 448:] <= keys[..., 448:].abs() * 2.0**-8).all()


def test_v32_round_trip_stays_within_half_an_fp8_step() -> None:
    """V3.2's fp32 scales bring nope back to 2**-4 of itself or half a subnormal step."""
    keys = _keys(FP8_DS_MLA_V32)
    actual = dequantize(quantize(keys, FP8_DS_MLA_V32), 4, FP8_DS_MLA_V32)
    nope, error = keys[..., :512], (actual - keys).abs()
    largest = nope.abs().reshape(3, 4, 4, 128).amax(-1).clamp_min(1e-4)
    scale = (largest / 448).repeat_interleave(128, dim=-1)
    # 2**-20 covers the scale's own rounding to float32.
    allowed = torch.maximum(nope.abs() * (2.0**-4 + 2.0**-20), scale * 2.0**-10 * 1.001)
    assert (error[..., :512] <= allowed).all()
    assert (error[..., 512:] <= keys[..., 512:].abs() * 2.0**-8).all()


def test_bf16_round_trip_is_exact_for_bf16_values() -> None:
    """bf16 keys come back bit for bit from the bf16 layout."""
    keys = _keys(BF16).to(torch.bfloat16)
    assert torch.equal(keys.float(), dequantize(quantize(keys, BF16), 4, BF16))


@pytest.mark.parametrize("fp8_dtype", FP8, ids=["fn", "fnuz"])
def test_zeros_and_tiny_negatives_come_back_as_numbers(fp8_dtype: torch.dtype) -> None:
    """Zero, and negatives that round to zero, are zero and never the NaN of fnuz's 0x80."""
    keys = torch.zeros(1, 4, 512)
    keys[0, 1] = -1e-30
    keys[0, 2] = -0.0
    blocks = quantize(keys, FP8_DS_MLA_V4, fp8_dtype)
    actual = dequantize(blocks, 4, FP8_DS_MLA_V4, fp8_dtype)[..., :448]
    assert torch.equal(torch.zeros(1, 4, 448), actual)


def test_v4_bytes_stand_where_the_layout_says() -> None:
    """A token of known values has known bytes: value 1.75, scale 2**-8, rope 1.0."""
    keys = torch.zeros(1, 2, 512)
    keys[0, 1, :64] = 1.75
    keys[0, 1, 448:] = 1.0
    block = quantize(keys, FP8_DS_MLA_V4)[0]
    # 1.75 / 2**-8 is 448, the largest e4m3fn value, 0x7E; 127 - 8 is 119; bf16 1.0 is 0x3F80.
    assert [0x7E] * 64 == block[576 : 576 + 64].tolist()
    assert block[2 * 576 + 8] == 119
    assert [0x80, 0x3F] * 64 == block[576 + 448 : 2 * 576].tolist()
    assert block[2 * 576 + 8 + 7] == 0
    assert block.numel() == 1168


def test_a_value_just_over_a_limit_takes_the_next_scale() -> None:
    """One float32 step over 448 * 2**-8 needs the scale 2**-7; exactly that much does not."""
    exact = torch.full((1, 1, 512), 1.75)
    over = torch.nextafter(exact, torch.full_like(exact, 2.0))
    scales = [int(quantize(keys, FP8_DS_MLA_V4)[0, 576]) for keys in (exact, over)]
    assert [119, 120] == scales


def test_padding_behind_a_block_is_ignored() -> None:
    """Blocks read with their page padding decode to the same values."""
    blocks = quantize(_keys(FP8_DS_MLA_V4), FP8_DS_MLA_V4)
    padded = torch.nn.functional.pad(blocks, (0, 200), value=255)
    expected = dequantize(blocks, 4, FP8_DS_MLA_V4)
    assert torch.equal(expected, dequantize(padded, 4, FP8_DS_MLA_V4))


def test_wrong_shapes_and_dtypes_are_refused() -> None:
    """Keys, blocks and fp8 dtypes that do not fit are errors that name what is allowed."""
    with pytest.raises(UsageError, match=r"keys have shape \[1, 2, 511\].*512\]"):
        quantize(torch.zeros(1, 2, 511), FP8_DS_MLA_V4)
    with pytest.raises(UsageError, match=r"shape \[1, 1167\].*at least 1168"):
        dequantize(torch.zeros(1, 1167, dtype=torch.uint8), 2, FP8_DS_MLA_V4)
    with pytest.raises(UsageError, match=r"float8_e5m2: choose from torch\.float8_e4m3fn,"):
        quantize(torch.zeros(1, 2, 512), FP8_DS_MLA_V4, torch.float8_e5m2)


@pytest.mark.parametrize("fp8_dtype", FP8, ids=["fn", "fnuz"])
@pytest.mark.parametrize("value", [0.0, 1e-30, 9.9e-5, 1e-4])
def test_groups_below_the_smallest_maximum_are_scaled_as_if_they_reached_it(value, fp8_dtype):
    """Of one-byte scales the exponent of 1e-4 over fp8's largest value, rounded up."""
    block = quantize(torch.full((1, 1, 512), value), FP8_DS_MLA_V4, fp8_dtype)[0]
    # 1e-4 / 448 is 2**-22.1, 1e-4 / 240 is 2**-21.2.
    exponent = {torch.float8_e4m3fn: -22, torch.float8_e4m3fnuz: -21}[fp8_dtype]
    assert [127 + exponent] * 7 == block[576:583].tolist()


@pytest.mark.parametrize("value", [0.0, 9.9e-5])
def test_fp32_scales_of_such_groups_are_those_of_the_smallest_maximum(value):
    scales = quantize(torch.full((1, 1, 576), value), FP8_DS_MLA_V32)[0, 512:528]
    expected = torch.full((4,), 1e-4 / 448, dtype=torch.float32)
    assert expected.view(torch.uint8).tolist() == scales.tolist()


def test_a_group_just_over_the_smallest_maximum_has_a_scale_of_its_own():
    """The healthy twin: at twice 1e-4 the exponent is one more."""
    block = quantize(torch.full((1, 1, 512), 2e-4), FP8_DS_MLA_V4)[0]
    assert [127 - 21] * 7 == block[576:583].tolist()


def test_the_one_scale_byte_that_is_no_number_makes_its_group_nan():
    """255 is NaN in the OCP's e8m0; the bytes below it are powers of two, and stay so."""
    block = quantize(torch.ones(1, 1, 512), FP8_DS_MLA_V4)
    block[0, 576:584] = 127
    block[0, 577], block[0, 578] = 255, 227
    values = dequantize(block, 1, FP8_DS_MLA_V4)[0, 0, :448].view(7, 64)
    assert [False, True, False, False, False, False, False] == values.isnan().all(1).tolist()
    assert 64 == int(values.isnan().sum())
    one = float(values[0, 0])
    assert [one * 2.0**100] * 64 == values[2].tolist()


@pytest.mark.parametrize(
    ("maximum", "code"),
    [(448.0 * 2.0**-8, 119), (448.0, 127), (448.0 * 2.0**10, 137), (3.4e38, 247)],
)
def test_the_scale_is_the_least_power_of_two_that_brings_the_largest_into_range(maximum, code):
    keys = torch.zeros(1, 1, 512)
    keys[0, 0, 5] = -maximum
    assert code == int(quantize(keys, FP8_DS_MLA_V4)[0, 576])


def test_inline_scales_stand_between_nope_and_rope():
    """V3.2: 512 bytes of fp8, four fp32 scales, then 64 bf16 values, token after token."""
    keys = torch.zeros(1, 2, 576)
    keys[0, 1, :128] = 448.0
    keys[0, 1, 512:] = 1.0
    token = quantize(keys, FP8_DS_MLA_V32)[0].view(2, 656)[1]
    assert [0x7E] * 128 + [0] * 384 == token[:512].tolist()
    assert 1.0 == float(token[512:516].view(torch.float32))
    assert [0x80, 0x3F] * 64 == token[528:].tolist()
