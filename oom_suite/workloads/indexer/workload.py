"""The indexer's logits as workloads: over a paged cache, and over a chunk of a prefill. No torch.

Source: vLLM 0.21.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:228` and :441; 0.33.0 :441,
:756 and :872.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Convention, Polynomial, Scenario, Workload
from oom_suite.records.workload import Entry, Pool
from oom_suite.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

_STEP = "oom_suite.workloads.indexer.step"
_VARIANTS = "oom_suite.workloads.indexer.variants"
_ORACLE = "oom_suite.workloads.indexer.oracle"
_ADAPT = "oom_suite.subjects.families.vllm.indexer"
_FILE = "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py"

_ORDER = (
    "batch",
    "next_n",
    "num_tokens",
    "num_heads",
    "block_size",
    "context_len",
    "max_model_len",
)
DECODE_BOUND = Polynomial.of(
    {
        ("batch", "next_n", "max_model_len"): 8,
        ("batch", "next_n", "context_len"): 64,
        ("batch", "context_len"): 4 * KIB,
        ("num_heads", "context_len"): 16,
        ("batch", "next_n", "num_heads"): 4 * KIB,
        ("next_n", "num_heads", "block_size"): 64,
        (): MIB,
    },
    order=_ORDER,
)
"""What the logits of a decode step may take.

Per query and position of the longest context 8 bytes: the float32 logits, and once more. Per query
and key of its context 64 bytes (16 float32), per key 4 KiB (eight float32 copies of 128 values).
Scores of every head may be kept for one request (16 bytes) or for one block (64); per query and
head 4 KiB, eight float32 copies of 128 values; 1 MiB for what is constant.
"""

PREFILL_BOUND = Polynomial.of(
    {
        ("num_tokens", "context_len"): 64,
        ("context_len",): 4 * KIB,
        ("num_tokens", "num_heads"): 4 * KIB,
        (): 64 * MIB,
    },
    order=_ORDER,
)
"""What the logits of a chunk may take: as above, and nothing for every head of every pair.

The result is one float32 a token and key, and servers choose their chunks by it: vLLM by 512 MiB
of it (`VLLM_SPARSE_INDEXER_MAX_LOGITS_MB`, 0.33.0 `vllm/envs.py:62`).
"""

_BY_DESIGN = {
    "max_model_len": "the logits are as wide as the longest context, so that every step has the "
    "same shapes and can be captured in a graph"
}


def _whole_blocks(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
    """The same sizes with both lengths in whole blocks, and no context above the longest."""
    block_size = sizes["block_size"]
    longest = max(1, sizes["max_model_len"] // block_size) * block_size
    context = max(1, sizes["context_len"] // block_size) * block_size
    return {**sizes, "max_model_len": longest, "context_len": min(context, longest)}


def _decode(name: str, num_blocks: int, next_n: int, max_len: int, summary: str) -> Scenario:
    sizes = {
        "num_blocks": num_blocks,
        "block_size": 64,
        "batch": 4,
        "next_n": next_n,
        "num_heads": 64,
        "context_len": min(512, max_len),
        "max_model_len": max_len,
    }
    return Scenario(name, sizes, summary)


_ISSUE = 221_839, 98_304 // 4
"""The pool and the longest context of vLLM #41962, at DeepSeek-V4's four tokens a key."""
_DECODE_SCENARIOS = {
    one.name: one
    for one in (
        _decode("speculative", _ISSUE[0], 2, _ISSUE[1], "two tokens of a request at once"),
        _decode("plain", _ISSUE[0], 1, _ISSUE[1], "one token of each request"),
        _decode("small", 64, 2, 512, "a pool as small as those of ordinary tests"),
    )
}

INDEXER_LOGITS = Workload(
    name="indexer-logits",
    axes=(
        Axis("num_blocks", step=64, far=(64, 4096, 1 << 20), unit="block"),
        Axis("batch", step=1, far=(2, 16), lower=2, unit="request"),
        Axis("num_heads", step=16, far=(16, 128), unit="head"),
        Axis("context_len", step=64, far=(64, 1024), lower=64, unit="key"),
        Axis("max_model_len", step=64, far=(1024, 1 << 20), lower=64, unit="key"),
    ),
    builder=f"{_STEP}:build_decode",
    contract=Contract(independent_of=("num_blocks",), at_most=DECODE_BOUND),
    settle=_whole_blocks,
    convention=Convention(
        ("q", "kv_cache", "weights", "context_lens", "block_tables", "max_model_len")
    ),
    pools=(Pool("kv_cache", "block_tables", "context_lens", names="blocks"),),
    variants=f"{_VARIANTS}:DECODE",
    oracle=f"{_ORACLE}:decode_oracle",
    tolerance=f"{_ORACLE}:decode_tolerance",
    scenarios=_DECODE_SCENARIOS,
    default_scenario="speculative",
    scanned=("speculative", "plain"),
    entries={
        "vllm": Entry(
            file=_FILE,
            functions=("fp8_paged_mqa_logits_torch",),
            what="paged indexer in torch alone",
        )
    },
    leaves_inputs_untouched=True,
    is_scanned_alone=True,
    by_design=_BY_DESIGN,
)
"""The logits of one decode step over the indexer's paged cache, in torch alone."""

INDEXER_LOGITS_ROCM = replace(
    INDEXER_LOGITS,
    name="indexer-logits-rocm",
    entries={
        "vllm": Entry(
            file=_FILE,
            functions=("rocm_fp8_paged_mqa_logits",),
            what="paged indexer for ROCm",
            adapt=f"{_ADAPT}:dispatched",
        )
    },
    variants=f"{_VARIANTS}:DISPATCHED",
    made_for="rocm",
)
"""The same, as ROCm takes it where AITER is not installed: in torch, or by a Triton kernel."""

_PREFILL_SCENARIOS = {
    one.name: one
    for one in (
        Scenario(
            "chunk",
            {"num_tokens": 2048, "context_len": 16_384, "num_heads": 64},
            "2,048 tokens of a prompt of 65,536, at four tokens a key",
        ),
        Scenario(
            "small",
            {"num_tokens": 16, "context_len": 64, "num_heads": 16},
            "a chunk as small as those of ordinary tests",
        ),
    )
}

INDEXER_PREFILL = Workload(
    name="indexer-prefill",
    axes=(
        Axis("num_tokens", step=16, far=(16, 8192), unit="token"),
        Axis("context_len", step=64, far=(64, 65_536), unit="key"),
        Axis("num_heads", step=16, far=(16, 128), unit="head"),
    ),
    builder=f"{_STEP}:build_prefill",
    contract=Contract(at_most=PREFILL_BOUND),
    convention=Convention(("q", "kv", "weights", "cu_seqlen_ks", "cu_seqlen_ke")),
    variants=f"{_VARIANTS}:PREFILL",
    oracle=f"{_ORACLE}:prefill_oracle",
    tolerance=f"{_ORACLE}:prefill_tolerance",
    scenarios=_PREFILL_SCENARIOS,
    default_scenario="chunk",
    entries={
        "vllm": Entry(
            file=_FILE,
            functions=("rocm_fp8_mqa_logits", "fp8_mqa_logits_torch"),
            what="indexer of a prefill for ROCm",
        )
    },
    leaves_inputs_untouched=True,
    is_scanned_alone=True,
)
"""The logits of a chunk of a prefill, as ROCm takes them where AITER is not installed."""


@hookimpl
def oom_workloads() -> list[Workload]:
    """The indexer's."""
    return [INDEXER_LOGITS, INDEXER_LOGITS_ROCM, INDEXER_PREFILL]
