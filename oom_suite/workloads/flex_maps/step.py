"""The inputs of flex attention's block maps, at any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping


def build_inverse(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """The block tables of a batch, of which each request fills all its blocks.

    Args:
        sizes: ``num_blocks``, ``block_size``, ``batch`` and ``blocks_of_each``.
        device: where everything lies.

    Returns:
        ``block_table`` int32 [batch, blocks_of_each]; ``seq_lens`` int32 [batch]; ``block_size``
        and ``total_blocks``.
    """
    batch, blocks_of_each = sizes["batch"], sizes["blocks_of_each"]
    return {
        "block_table": _numbers(batch, blocks_of_each, sizes["num_blocks"], torch.int32, device),
        "seq_lens": torch.full(
            (batch,), blocks_of_each * sizes["block_size"], dtype=torch.int32, device=device
        ),
        "block_size": sizes["block_size"],
        "total_blocks": sizes["num_blocks"],
    }


def build_unique(sizes: Mapping[str, int], device: torch.device | str) -> dict[str, Any]:
    """The blocks that groups of queries read, some of them more than once.

    Args:
        sizes: ``num_blocks``, ``groups`` and ``blocks_of_each``.
        device: where everything lies.

    Returns:
        ``x`` int64 [groups, blocks_of_each], blocks by number, none above ``M``.
    """
    num_blocks = sizes["num_blocks"]
    shape = (sizes["groups"], sizes["blocks_of_each"])
    return {"x": _numbers(*shape, num_blocks, torch.int64, device), "M": num_blocks}


def _numbers(
    rows: int, columns: int, num_blocks: int, dtype: torch.dtype, device: torch.device | str
) -> torch.Tensor:
    numbers = torch.arange(rows * columns, dtype=dtype, device=device)
    return (numbers % num_blocks).view(rows, columns)
