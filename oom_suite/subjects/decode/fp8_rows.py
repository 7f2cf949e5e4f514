"""Token bytes of a DeepSeek-V4 cache: where they are in a pool, and the values they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

VALUES_PER_SCALE = 64
SCALES_BYTES = 8
"""Bytes of scales a token: 7 ue8m0 and 1 pad.

Source: vLLM 0.21.0 `v1/attention/ops/deepseek_v4_ops/cache_utils.py:46`.
"""


@dataclass(frozen=True, slots=True)
class Fp8Rows:
    """Tokens as stored, in any arrangement.

    Attributes:
        data: uint8 [..., nope_head_dim + 2 * rope_head_dim], fp8 nope values, then bf16 rope.
        scales: uint8 [..., 8], one ue8m0 for each 64 nope values, then padding.
        nope_head_dim: values a token in fp8.
        fp8_dtype: which fp8.
    """

    data: torch.Tensor
    scales: torch.Tensor
    nope_head_dim: int
    fp8_dtype: torch.dtype

    @classmethod
    def of_pool(
        cls,
        pool: torch.Tensor,
        nope_head_dim: int,
        rope_head_dim: int,
        fp8_dtype: torch.dtype,
    ) -> Fp8Rows:
        """The pool's own memory as rows [num_blocks, block_size, ...]; nothing is copied.

        Args:
            pool: uint8 [num_blocks, block_size, token_bytes]; strided in dimension 0 at most.
            nope_head_dim: values a token in fp8.
            rope_head_dim: values a token in bf16.
            fp8_dtype: which fp8.
        """
        num_blocks, block_size, _ = pool.shape
        stride_bytes, first = pool.stride(0), pool.storage_offset()
        data_bytes = nope_head_dim + 2 * rope_head_dim
        data = pool.as_strided(
            (num_blocks, block_size, data_bytes), (stride_bytes, data_bytes, 1), first
        )
        scales = pool.as_strided(
            (num_blocks, block_size, SCALES_BYTES),
            (stride_bytes, SCALES_BYTES, 1),
            first + block_size * data_bytes,
        )
        return cls(data, scales, nope_head_dim, fp8_dtype)

    def at(self, *index: torch.Tensor) -> Fp8Rows:
        """A copy of the rows at these int64 indices of the leading dimensions."""
        return Fp8Rows(self.data[index], self.scales[index], self.nope_head_dim, self.fp8_dtype)

    def decode(self, dtype: torch.dtype) -> torch.Tensor:
        """The values, of this dtype: [..., head_dim].

        Converting straight into the result leaves only the scales as a temporary. An fp8 value
        times a power of two is exact in bf16.
        """
        nope_dim = self.nope_head_dim
        rope = self.data[..., nope_dim:].view(torch.bfloat16)
        lead = self.data.shape[:-1]
        values = torch.empty(
            (*lead, nope_dim + rope.shape[-1]), dtype=dtype, device=self.data.device
        )
        values[..., nope_dim:].copy_(rope)
        nope = values[..., :nope_dim]
        nope.copy_(self.data[..., :nope_dim].view(self.fp8_dtype))
        num_scales = nope_dim // VALUES_PER_SCALE
        scales = self.scales[..., :num_scales].view(torch.float8_e8m0fnu).to(dtype)
        groups = nope.view(*lead, num_scales, VALUES_PER_SCALE)
        groups.mul_(scales.unsqueeze(-1))
        return values
