"""A chunk of a sparse prefill at compress ratio 4: rows for what its queries name. No torch.

Source: vLLM 0.33.0 `models/deepseek_v4/nvidia/flashmla.py:262`, up to the call of the attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Polynomial, Scenario, Workload
from oom_suite.records.workload import Builtin, Convention, Pool
from oom_suite.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SLOT = 2**31 - 1
_HERE = "oom_suite.workloads.sparse_mla.prefill"
RATIO = 4
"""Tokens of a compressed entry. Source: `geometry.models.FLASH`, every other layer from the third.
"""

PREFILL_BOUND = Polynomial.of(
    {
        ("num_requests", "union_rows"): 8 * KIB,
        ("num_queries", "num_requests"): 16 * KIB,
        ("num_requests", "window"): 16 * KIB,
        ("num_queries", "num_requests", "topk"): 128,
        ("num_queries", "num_requests", "window"): 128,
        (): MIB,
    },
    order=("num_requests", "union_rows", "num_queries", "topk", "window"),
)
"""What a chunk may take: generous in what it names, and in nothing else.

A distinct entry 8 KiB (four float32 rows of 512 values); a token that sliding windows reach, of
which there are ``num_queries + window - 1`` a request, 16 KiB (eight); an index that a query has
128 bytes (sixteen 64-bit numbers).
"""


def _settle(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
    """The same sizes with a prefix of at least a window, and no more distinct entries than named.

    None where a slot is no 32-bit number.
    """
    found = dict(sizes)
    found["prefix_len"] = max(sizes["prefix_len"], sizes["window"])
    entries = (found["prefix_len"] + sizes["num_queries"]) // RATIO
    most = min(sizes["num_queries"] * sizes["topk"], entries)
    found["union_rows"] = min(sizes["union_rows"], most)
    return found if sizes["num_blocks"] * sizes["block_size"] <= _MAX_SLOT else None


def _scenario(name: str, summary: str, **sizes: int) -> Scenario:
    shared = {"block_size": 64, "num_requests": 1, "topk": 512, "window": 128}
    return Scenario(name, shared | sizes, summary)


SCENARIOS = {
    one.name: one
    for one in (
        _scenario(
            "chunk",
            "2,048 tokens behind 131,072, whose top-k names an eighth of the prefix's entries",
            num_blocks=221_839,
            prefix_len=131_072,
            num_queries=2048,
            union_rows=4096,
        ),
        _scenario(
            "small",
            "a prefix as short as those of ordinary tests",
            num_blocks=64,
            prefix_len=1024,
            num_queries=64,
            union_rows=64,
        ),
    )
}

PREFILL_GATHER = Workload(
    name="prefill-gather",
    axes=(
        Axis("num_blocks", step=64, far=(64, 4096, 1 << 20), unit="block"),
        Axis("prefix_len", step=256, far=(4096, 1 << 20), unit="token"),
        Axis("num_requests", step=1, far=(1, 16), unit="request"),
        Axis("num_queries", step=64, far=(64, 8192), unit="token"),
        Axis("topk", step=128, far=(128, 2048), unit="entry"),
        Axis("window", step=128, far=(128, 1024), lower=128, unit="token"),
        Axis("union_rows", step=64, far=(64, 16_384), unit="row"),
    ),
    builder=f"{_HERE}.step:build",
    contract=Contract(independent_of=("num_blocks", "prefix_len"), at_most=PREFILL_BOUND),
    settle=_settle,
    convention=Convention(
        (
            "k_cache",
            "swa_k_cache",
            "topk_indices",
            "query_start_loc",
            "compressed_lens",
            "seq_lens",
            "gather_lens",
            "block_table",
            "swa_block_table",
            "window_size",
            "compress_ratio",
            "max_compressed_len",
            "max_gather_len",
            "max_union",
            "attend",
            "output",
        ),
        output="output",
    ),
    scenarios=SCENARIOS,
    builtins={
        "dense_staging": Builtin(
            "oom_suite.workloads.sparse_mla.builtins.dense_staging:dense_staging",
            known_bug="makes rows of whole prefixes, as vLLM 0.33.0's prefill does",
            by_default=False,
        ),
    },
    pools=(
        Pool("k_cache", "block_table", "compressed_lens", names="blocks"),
        Pool("swa_k_cache", "swa_block_table", "seq_lens", names="blocks"),
    ),
    variants=f"{_HERE}.variants:VARIANTS",
    oracle=f"{_HERE}.step:oracle",
    tolerance="oom_suite.workloads.variants:exact",
    leaves_inputs_untouched=True,
)
"""Rows of bf16 for the entries and tokens that a chunk names, whatever the pool and the prefix."""


@hookimpl
def oom_workloads() -> list[Workload]:
    """The chunk."""
    return [PREFILL_GATHER]
