"""What the built-in decode paths share: where a slot lies, and the decoded rows of slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from oom_suite.errors import UsageError


class Slots(NamedTuple):
    """Where the entries of an index tensor point.

    Attributes:
        block: int64 [num_tokens, topk]; 0 where the entry does not count.
        offset: int64 [num_tokens, topk], token within the block; 0 where it does not count.
        counts: bool [num_tokens, topk].
    """

    block: torch.Tensor
    offset: torch.Tensor
    counts: torch.Tensor


def locate(indices: torch.Tensor, lens: torch.Tensor, block_size: int, first: int = 0) -> Slots:
    """The blocks and offsets of index entries. Reads no value on the host.

    Args:
        indices: int [num_tokens, topk], slots; negative ones do not count.
        lens: int [num_tokens]; entries from this position on do not count.
        block_size: tokens of one block.
        first: the position of the first entry in its row, when `indices` is a chunk of it.
    """
    position = torch.arange(first, first + indices.shape[1], device=indices.device)
    counts = (position < lens.unsqueeze(1)).logical_and_(indices >= 0)
    slot = indices.to(torch.int64) * counts
    return Slots(slot // block_size, slot % block_size, counts)


class PoolRead(NamedTuple):
    """One pool and what is read of it.

    Attributes:
        pool: uint8 [num_blocks, block_size, 584].
        indices: int [num_tokens, topk], slots.
        lens: int [num_tokens], entries that count.
    """

    pool: torch.Tensor
    indices: torch.Tensor
    lens: torch.Tensor


def pool_reads(
    swa_k_cache: torch.Tensor,
    swa_indices: torch.Tensor,
    swa_lens: torch.Tensor,
    swa_only: bool,
    kv_cache: torch.Tensor | None,
    topk_indices: torch.Tensor | None,
    topk_lens: torch.Tensor | None,
) -> list[PoolRead]:
    """The sliding window's read, then the compressed pool's unless the layer has none.

    The arguments are those of a decode step; indices lose a middle dimension of 1.

    Raises:
        UsageError: a layer that is not `swa_only` lacks its pool, indices or lens.
    """
    reads = [PoolRead(swa_k_cache, swa_indices.flatten(1), swa_lens)]
    if swa_only:
        return reads
    if kv_cache is None or topk_indices is None or topk_lens is None:
        msg = "kv_cache, topk_indices or topk_lens is None: only a swa_only layer goes without"
        raise UsageError(msg)
    return [*reads, PoolRead(kv_cache, topk_indices.flatten(1), topk_lens)]


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
