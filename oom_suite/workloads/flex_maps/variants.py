"""Small block maps, for safety detectors, and what they must say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.variants import SeededSteps

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUM_BLOCKS, _BLOCK_SIZE = 12, 4


def small_inverse(device: torch.device | str, seed: int = 0) -> dict[str, Any]:
    """The keywords of `step.build_inverse`: behind a context a table has blocks that are not its.

    The second request's first block comes again as its third, as a sliding window's does.
    """
    tables = torch.tensor([[3, 9, 1, 7, 2], [7, 5, 7, 0, 11]], dtype=torch.int32, device=device)
    return {
        "block_table": (tables + seed) % _NUM_BLOCKS,
        "seq_lens": torch.tensor([9 + seed, 11], dtype=torch.int32, device=device),
        "block_size": _BLOCK_SIZE,
        "total_blocks": _NUM_BLOCKS,
    }


def small_unique(device: torch.device | str, seed: int = 0) -> dict[str, Any]:
    """The keywords of `step.build_unique`: some blocks twice, and 0 for none."""
    blocks = torch.tensor([[3, 1, 0, 1, 2, 3], [5, 5, 5, 0, 0, 12]], device=device)
    return {"x": torch.where(blocks > 0, (blocks - 1 + seed) % 12 + 1, 0), "M": _NUM_BLOCKS}


def inverse_oracle(step: Mapping[str, Any]) -> torch.Tensor:
    """For each request and block where it stands, the last time that it does; -1 for nowhere."""
    tables, lens = step["block_table"].tolist(), step["seq_lens"].tolist()
    found = torch.full((len(tables), step["total_blocks"]), -1.0, dtype=torch.float64)
    for request, (row, length) in enumerate(zip(tables, lens, strict=True)):
        for place, block in enumerate(row[: -(-length // step["block_size"])]):
            found[request, block] = place
    return found


def unique_oracle(step: Mapping[str, Any]) -> torch.Tensor:
    """The blocks of each group, each where it comes first, without 0; -1 behind them."""
    found = torch.full(step["x"].shape, -1.0, dtype=torch.float64)
    for group, row in enumerate(step["x"].tolist()):
        blocks = list(dict.fromkeys(block for block in row if block))
        found[group, : len(blocks)] = torch.tensor(blocks, dtype=torch.float64)
    return found


INVERSE = SeededSteps("twelve blocks", small_inverse)
UNIQUE = SeededSteps("twelve blocks", small_unique)
