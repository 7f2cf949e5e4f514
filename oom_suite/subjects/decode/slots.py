"""Index entries as blocks and offsets, and which of them count."""

from __future__ import annotations

from typing import NamedTuple

import torch


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
