"""The one or two pools that a decode step reads, each with its indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oom_suite.errors import UsageError

if TYPE_CHECKING:
    import torch


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


def pool_reads(  # noqa: PLR0913, PLR0917 - half of vLLM's signature
    swa_k_cache: torch.Tensor,
    swa_indices: torch.Tensor,
    swa_lens: torch.Tensor,
    swa_only: bool,  # noqa: FBT001 - vLLM's parameter, given by keyword
    kv_cache: torch.Tensor | None,
    topk_indices: torch.Tensor | None,
    topk_lens: torch.Tensor | None,
) -> list[PoolRead]:
    """The sliding window's read, then the compressed pool's unless the layer has none.

    The arguments are those of `oom_suite.subjects.decode`; indices lose a middle dimension of 1.

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
