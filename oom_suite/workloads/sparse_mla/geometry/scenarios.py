"""Named sizes of one decode step, and how a user resizes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError, unknown
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


@dataclass(frozen=True, slots=True)
class Scenario:
    """The sizes of one decode step.

    Attributes:
        name: how it is asked for.
        sizes: the value of every axis in `AXES`.
        summary: one line: what it stands for.
        free_bytes: what the device had free, where a report says so; otherwise None.
    """

    name: str
    sizes: Mapping[str, int]
    summary: str
    free_bytes: int | None = None


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

    `referenced_blocks` cannot exceed what the pools hold or the indices can name. A value that
    the caller did not set follows that limit down; one that he set must keep to it.

    Args:
        scenario_sizes: a value for each axis in `AXES`.
        overrides: new values by axis. `num_blocks` sets both pools; a pool's own axis wins.

    Raises:
        UsageError: an unknown axis, a value below 1, or more referenced blocks than possible.
    """
    for axis, value in overrides.items():
        if axis != "num_blocks" and axis not in AXES:
            raise unknown("axis", axis, (*AXES, "num_blocks"))
        _check_value(axis, value)
    sizes = {axis: scenario_sizes[axis] for axis in AXES}
    if "num_blocks" in overrides:
        sizes["swa_num_blocks"] = sizes["extra_num_blocks"] = overrides["num_blocks"]
    sizes.update({axis: value for axis, value in overrides.items() if axis in AXES})
    limit = referenced_blocks_limit(sizes)
    if sizes["referenced_blocks"] > limit:
        if "referenced_blocks" in overrides:
            msg = (
                f"referenced_blocks is {sizes['referenced_blocks']}: at most {limit} blocks "
                "can be referenced at these sizes (the smaller pool, or num_tokens * top-k)"
            )
            raise UsageError(msg)
        sizes["referenced_blocks"] = limit
    return sizes


def referenced_blocks_limit(sizes: Mapping[str, int]) -> int:
    """The most distinct blocks that both pools can hold and both index tensors can name."""
    return min(
        sizes["swa_num_blocks"],
        sizes["extra_num_blocks"],
        sizes["num_tokens"] * sizes["swa_topk"],
        sizes["num_tokens"] * sizes["extra_topk"],
    )


def _check_value(axis: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{axis} is {value!r}: choose a whole number of at least 1"
        raise UsageError(msg)
