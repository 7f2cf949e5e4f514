"""How one block's bytes are arranged: where each token's values and scales lie."""

from __future__ import annotations

from dataclasses import dataclass

from oom_suite.errors import UsageError

BF16_BYTES = 2
FP8_BYTES = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """The byte map of one block of a paged KV cache.

    Each token holds its nope values, then its rope values (always bf16). Scales stand
    either inline, between nope and rope, or for all tokens of the block together, behind
    the last token's data::

        inline        | nope 0 | scales 0 | rope 0 | nope 1 | scales 1 | rope 1 | ...
        not inline    | nope 0 | rope 0 | nope 1 | rope 1 | ... | scales 0 | scales 1 | ...

    Attributes:
        name: its name in messages.
        nope_head_dim: values a token without position encoding.
        rope_head_dim: values a token with position encoding, in bf16.
        nope_item_bytes: bytes of one nope value: 1 for fp8, 2 for bf16.
        values_per_scale: nope values that share one scale; 0 when there are no scales.
        scale_item_bytes: bytes of one scale; 0 when there are none.
        scales_bytes: bytes of scales kept for one token, padding included.
        scales_inline: whether a token's scales stand beside it.
        block_alignment_bytes: vLLM starts each block at a multiple of this.
    """

    name: str
    nope_head_dim: int
    rope_head_dim: int
    nope_item_bytes: int
    values_per_scale: int = 0
    scale_item_bytes: int = 0
    scales_bytes: int = 0
    scales_inline: bool = False
    block_alignment_bytes: int = 1

    @property
    def head_dim(self) -> int:
        """Values of one token."""
        return self.nope_head_dim + self.rope_head_dim

    @property
    def nope_bytes(self) -> int:
        """Bytes of one token's nope values."""
        return self.nope_head_dim * self.nope_item_bytes

    @property
    def rope_bytes(self) -> int:
        """Bytes of one token's rope values."""
        return self.rope_head_dim * BF16_BYTES

    @property
    def num_scales(self) -> int:
        """Scales of one token that are used; padding is not counted."""
        return self.nope_head_dim // self.values_per_scale if self.values_per_scale else 0

    @property
    def token_bytes(self) -> int:
        """Bytes of one token with its scales: the last dimension of vLLM's cache tensor."""
        return self.nope_bytes + self.rope_bytes + self.scales_bytes

    @property
    def token_stride_bytes(self) -> int:
        """Bytes from one token's first nope value to the next token's."""
        inline = self.scales_bytes if self.scales_inline else 0
        return self.nope_bytes + self.rope_bytes + inline

    def block_bytes(self, block_size: int) -> int:
        """Bytes that a block of `block_size` tokens uses.

        Raises:
            UsageError: the block holds no token.
        """
        if block_size < 1:
            msg = f"block_size is {block_size}: a block holds at least 1 token"
            raise UsageError(msg)
        return block_size * self.token_bytes

    def padded_block_bytes(self, block_size: int) -> int:
        """Bytes from one block's start to the next one's, as vLLM aligns them.

        Raises:
            UsageError: the block holds no token.
        """
        unit = self.block_alignment_bytes
        return -(-self.block_bytes(block_size) // unit) * unit

    def nope_offset_bytes(self, token: int) -> int:
        """Where a token's nope values start, in bytes from its block's start."""
        return token * self.token_stride_bytes

    def rope_offset_bytes(self, token: int) -> int:
        """Where a token's rope values start, in bytes from its block's start."""
        inline = self.scales_bytes if self.scales_inline else 0
        return token * self.token_stride_bytes + self.nope_bytes + inline

    def scale_offset_bytes(self, token: int, block_size: int) -> int:
        """Where a token's scales start, in bytes from its block's start.

        Raises:
            UsageError: the layout has no scales.
        """
        if not self.scales_bytes:
            msg = f"layout {self.name} has no scales"
            raise UsageError(msg)
        if self.scales_inline:
            return token * self.token_stride_bytes + self.nope_bytes
        return block_size * self.token_stride_bytes + token * self.scales_bytes


FP8_DS_MLA_V4 = Layout(
    name="fp8_ds_mla (DeepSeek-V4)",
    nope_head_dim=448,
    rope_head_dim=64,
    nope_item_bytes=FP8_BYTES,
    values_per_scale=64,
    scale_item_bytes=1,
    scales_bytes=8,
    scales_inline=False,
    block_alignment_bytes=576,
)
"""DeepSeek-V4: 448 fp8 and 64 bf16 values, 7 ue8m0 scales and 1 pad byte: 584 bytes a token.

Source: vLLM 0.21.0 `v1/attention/ops/deepseek_v4_ops/cache_utils.py:46` (order of the regions),
`v1/kv_cache_interface.py:346` (584 bytes), `v1/attention/backends/mla/sparse_swa.py:86`
(alignment to 576 bytes).
"""

FP8_DS_MLA_V32 = Layout(
    name="fp8_ds_mla (DeepSeek-V3.2)",
    nope_head_dim=512,
    rope_head_dim=64,
    nope_item_bytes=FP8_BYTES,
    values_per_scale=128,
    scale_item_bytes=4,
    scales_bytes=16,
    scales_inline=True,
)
"""DeepSeek-V3.2: 512 fp8 values, 4 fp32 scales inline, 64 bf16 values: 656 bytes a token.

Source: vLLM 0.21.0 `v1/attention/backends/mla/flashmla_sparse.py:71`.
"""


def bf16(head_dim: int, rope_head_dim: int = 64) -> Layout:
    """The unquantized layout of `head_dim` bf16 values a token.

    Source: vLLM 0.21.0 `v1/kv_cache_interface.py:350` (head size times the item's bytes).

    Raises:
        UsageError: the rope values are more than all values.
    """
    if not 0 <= rope_head_dim <= head_dim:
        msg = f"rope_head_dim is {rope_head_dim}: choose 0 to head_dim, {head_dim}"
        raise UsageError(msg)
    return Layout(
        name=f"bf16 ({head_dim})",
        nope_head_dim=head_dim - rope_head_dim,
        rope_head_dim=rope_head_dim,
        nope_item_bytes=BF16_BYTES,
    )


BF16 = bf16(512)
"""DeepSeek-V4's 512 values in bf16: 1024 bytes a token, no scales."""
