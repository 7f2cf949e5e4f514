"""The byte maps of the layouts, pinned to figures worked out by hand."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.geometry import BF16, FP8_DS_MLA_V4, FP8_DS_MLA_V32, bf16


def test_v4_token_and_block_bytes_match_vllms_cache_shapes() -> None:
    """A V4 token takes 584 bytes; blocks of 64 and 2 tokens are padded to 37440 and 1728."""
    assert (
        FP8_DS_MLA_V4.token_bytes,
        FP8_DS_MLA_V4.block_bytes(64),
        FP8_DS_MLA_V4.padded_block_bytes(64),
        FP8_DS_MLA_V4.block_bytes(2),
        FP8_DS_MLA_V4.padded_block_bytes(2),
    ) == (584, 37376, 37440, 1168, 1728)


@pytest.mark.parametrize(
    ("token", "nope", "rope", "scale"),
    [(0, 0, 448, 36864), (1, 576, 1024, 36872), (63, 36288, 36736, 37368)],
)
def test_v4_scales_stand_behind_all_token_data(
    token: int, nope: int, rope: int, scale: int
) -> None:
    """In a V4 block of 64 tokens the scales start behind the 64th token's data."""
    layout = FP8_DS_MLA_V4
    assert (nope, rope, scale) == (
        layout.nope_offset_bytes(token),
        layout.rope_offset_bytes(token),
        layout.scale_offset_bytes(token, block_size=64),
    )


def test_v4_has_seven_scales_and_splits_512_values() -> None:
    """A V4 token has 448 + 64 values and one scale for each 64 nope values."""
    layout = FP8_DS_MLA_V4
    assert (512, 448, 64, 7) == (
        layout.head_dim,
        layout.nope_head_dim,
        layout.rope_head_dim,
        layout.num_scales,
    )


def test_v32_scales_stand_inline() -> None:
    """A V3.2 token is 512 fp8 bytes, 16 bytes of scales and 128 rope bytes, unpadded."""
    layout = FP8_DS_MLA_V32
    assert (656, 41984, 41984, 656, 1168, 1184, 4) == (
        layout.token_bytes,
        layout.block_bytes(64),
        layout.padded_block_bytes(64),
        layout.nope_offset_bytes(1),
        layout.scale_offset_bytes(1, block_size=64),
        layout.rope_offset_bytes(1),
        layout.num_scales,
    )


def test_bf16_takes_two_bytes_a_value_and_has_no_scales() -> None:
    """A bf16 token of 512 values takes 1024 bytes and asking for its scales is an error."""
    assert (1024, 1152, 0) == (BF16.token_bytes, bf16(576).token_bytes, BF16.num_scales)
    with pytest.raises(UsageError, match="has no scales"):
        BF16.scale_offset_bytes(0, block_size=64)


def test_an_empty_block_is_refused() -> None:
    """A block of 0 tokens is an error that names the value and the least allowed."""
    with pytest.raises(UsageError, match=r"block_size is 0.*at least 1"):
        FP8_DS_MLA_V4.padded_block_bytes(0)


def test_more_rope_values_than_values_is_refused() -> None:
    """A bf16 token cannot have more rope values than values."""
    with pytest.raises(UsageError, match=r"rope_head_dim is 65.*64"):
        bf16(64, rope_head_dim=65)
