"""The sizes at which predictions are held against a device: small and large, both layer kinds.

The largest pools have some 14,197,700 tokens: 221,839 blocks of 64, 147,893 of 96 or 55,459 of
256. Two of them take at most 16,582,946,304 bytes as inputs, and vLLM 0.21.0's fallback some
33 GB more at its peak: 50 GB together, of the 150 GB that an H200 has. 221,839 blocks of 256
tokens would take four times that, and no such device has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL, resize

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One call of the grid.

    Attributes:
        name: the sizes shortly: ``512x64-t4-h8-k128+512-r16``.
        workload: ``decode`` or ``decode-swa``.
        sizes: the value of every axis.
    """

    name: str
    workload: str
    sizes: Mapping[str, int]


_POINTS = (
    # blocks of each pool, tokens of a block, tokens, heads, window slots, top-k, referenced blocks
    (64, 64, 4, 8, 128, 512, 16),
    (64, 64, 1, 8, 128, 512, 1),
    (64, 96, 4, 8, 128, 512, 16),
    (64, 256, 4, 8, 128, 512, 16),
    (512, 64, 1, 8, 128, 512, 16),
    (512, 64, 4, 8, 128, 512, 64),
    (512, 64, 4, 8, 64, 128, 64),
    (512, 64, 4, 8, 128, 1024, 64),
    (512, 64, 4, 16, 128, 512, 64),
    (512, 64, 4, 64, 128, 512, 64),
    (512, 64, 4, 128, 128, 512, 64),
    (512, 64, 16, 8, 128, 512, 256),
    (512, 64, 32, 128, 128, 512, 512),
    (512, 64, 64, 64, 128, 512, 512),
    (512, 64, 128, 8, 128, 512, 512),
    (512, 96, 8, 32, 128, 512, 128),
    (512, 256, 8, 32, 128, 512, 128),
    (4096, 64, 4, 8, 128, 512, 512),
    (4096, 64, 64, 128, 128, 1024, 1024),
    (4096, 64, 128, 16, 128, 512, 4096),
    (4096, 96, 16, 64, 128, 512, 512),
    (4096, 256, 16, 64, 128, 512, 512),
    (32768, 64, 1, 8, 128, 512, 128),
    (32768, 64, 64, 8, 128, 512, 1024),
    (32768, 64, 128, 128, 128, 1024, 2048),
    (32768, 96, 32, 16, 128, 512, 512),
    (32768, 256, 4, 8, 128, 512, 64),
    (131072, 64, 8, 8, 128, 512, 1000),
    (147893, 96, 4, 8, 128, 512, 64),
    (55459, 256, 4, 8, 128, 512, 64),
    (221839, 64, 1, 8, 128, 512, 16),
    (221839, 64, 4, 8, 128, 512, 64),
    (221839, 64, 64, 64, 128, 512, 1024),
    (221839, 64, 128, 8, 128, 512, 2048),
)
_SWA_POINTS = (
    (64, 64, 4, 8, 128, 512, 16),
    (64, 96, 4, 8, 128, 512, 16),
    (64, 256, 1, 8, 128, 512, 1),
    (512, 64, 1, 8, 128, 512, 16),
    (512, 64, 4, 64, 128, 512, 64),
    (512, 64, 128, 128, 128, 512, 512),
    (512, 96, 16, 16, 128, 512, 256),
    (4096, 64, 16, 8, 64, 512, 256),
    (4096, 256, 32, 32, 128, 512, 512),
    (32768, 64, 64, 8, 128, 512, 1024),
    (32768, 96, 128, 64, 128, 512, 2048),
    (147893, 96, 4, 8, 128, 512, 64),
    (55459, 256, 8, 8, 128, 512, 64),
    (221839, 64, 4, 8, 128, 512, 64),
    (221839, 64, 128, 16, 128, 512, 2048),
)


def _point(workload: str, figures: tuple[int, ...]) -> GridPoint:
    blocks, block_size, tokens, heads, window, topk, referenced = figures
    wanted = {
        "num_blocks": blocks,
        "block_size": block_size,
        "num_tokens": tokens,
        "num_heads": heads,
        "swa_topk": window,
        "extra_topk": topk,
        "referenced_blocks": referenced,
    }
    widths = f"k{window}+{topk}" if workload == "decode" else f"k{window}"
    name = f"{blocks}x{block_size}-t{tokens}-h{heads}-{widths}-r{referenced}"
    return GridPoint(name, workload, resize(SMALL.sizes, wanted))


GRID = (
    *(_point("decode", figures) for figures in _POINTS),
    *(_point("decode-swa", figures) for figures in _SWA_POINTS),
)
"""34 calls with two pools and 15 with the sliding window's alone."""
