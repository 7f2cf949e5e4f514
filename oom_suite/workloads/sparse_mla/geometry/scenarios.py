"""Named sizes of one decode step, and how a user resizes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.errors import unknown
from oom_suite.records.workload import Scenario
from oom_suite.records.workload import resize as resize_any
from oom_suite.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

AXES = (
    "swa_num_blocks",
    "extra_num_blocks",
    "block_size",
    "num_tokens",
    "num_heads",
    "swa_topk",
    "extra_topk",
    "referenced_blocks",
)
"""The axes of a decode step.

`swa` is the sliding window's pool, `extra` the compressed one; `referenced_blocks` is the
number of distinct blocks that the indices name in each of the two.
"""

TOGETHER = {"num_blocks": ("swa_num_blocks", "extra_num_blocks")}
"""`num_blocks` sets both pools at once."""


def _sizes(*, num_blocks: int, num_tokens: int, referenced_blocks: int) -> dict[str, int]:
    return {
        "swa_num_blocks": num_blocks,
        "extra_num_blocks": num_blocks,
        "block_size": 64,
        "num_tokens": num_tokens,
        "num_heads": 8,
        "swa_topk": 128,
        "extra_topk": 512,
        "referenced_blocks": referenced_blocks,
    }


SMALL = Scenario(
    name="small",
    sizes=_sizes(num_blocks=64, num_tokens=4, referenced_blocks=16),
    summary="a pool as small as those of ordinary tests",
)
"""64 blocks a pool: small enough to run for real on any laptop."""

PRODUCTION = Scenario(
    name="production",
    sizes=_sizes(num_blocks=32768, num_tokens=64, referenced_blocks=1024),
    summary="DeepSeek-V4-Flash on MI325X, tensor parallel 8, 64 requests decoding",
)
"""A pool that DeepSeek-V4-Flash fits beside its weights on an MI325X of 256 GB.

Reasoning: each block takes 37,440 bytes a layer. 32,768 of them are 1.14 GiB a layer: 49.1 GiB
of sliding-window pages over 43 layers and 24.0 GiB of compressed pages over the 21 layers at
ratio 4, on every rank, for the latent cache is not split by tensor parallelism. At 256 original
tokens a block that is 8.4 million tokens of context. 64 heads over 8 ranks leave 8. 64 requests
of one token; 1,024 referenced blocks are 16 for each: its 128 window tokens lie in 2 or 3
blocks, and top-k entries cluster.

Source: `Layout.padded_block_bytes(64)`; `geometry.models.FLASH`; AMD's MI325X data sheet, 256 GB.
"""

ISSUE_41962 = Scenario(
    name="issue-41962",
    sizes=_sizes(num_blocks=221_839, num_tokens=4, referenced_blocks=64),
    summary="the pool of vLLM issue 41962: one request of 13.54 GiB with 12.74 GiB free",
    free_bytes=parse_bytes("12.74GiB"),
)
"""The allocation that killed the server in vLLM issue 41962.

The issue's own numbers disagree: the 147k blocks that it names, at 64 tokens each, dequantize
to 8.97 GiB and not to the 13.54 GiB that failed. 13.54 GiB is 221,839 blocks of 64 tokens, or
147,893 blocks of 96. This scenario reproduces the reported allocation, 221,839 blocks of 64 at
512 bf16 values a token, and the reported free memory.

Source: vllm-project/vllm issue 41962.
"""

SCENARIOS: dict[str, Scenario] = {known.name: known for known in (SMALL, PRODUCTION, ISSUE_41962)}


def scenario(name: str) -> Scenario:
    """The scenario of this name.

    Raises:
        UsageError: no such scenario; the message names the nearest.
    """
    if name not in SCENARIOS:
        raise unknown("scenario", name, SCENARIOS)
    return SCENARIOS[name]


def resize(scenario_sizes: Mapping[str, int], overrides: Mapping[str, int]) -> dict[str, int]:
    """The sizes of a scenario with some axes replaced, checked to be possible together.

    Args:
        scenario_sizes: a value for each axis in `AXES`.
        overrides: new values by axis. `num_blocks` sets both pools; a pool's own axis wins.

    Raises:
        UsageError: an unknown axis, a value below 1, or more referenced blocks than possible.
    """
    return resize_any(scenario_sizes, overrides, within_limit, TOGETHER)


def within_limit(sizes: Mapping[str, int]) -> dict[str, int]:
    """The same sizes with `referenced_blocks` lowered to what the pools and indices can name."""
    limit = referenced_blocks_limit(sizes)
    return {**sizes, "referenced_blocks": min(sizes["referenced_blocks"], limit)}


def referenced_blocks_limit(sizes: Mapping[str, int]) -> int:
    """The most distinct blocks that both pools can hold and both index tensors can name."""
    return min(
        sizes["swa_num_blocks"],
        sizes["extra_num_blocks"],
        sizes["num_tokens"] * sizes["swa_topk"],
        sizes["num_tokens"] * sizes["extra_topk"],
    )
