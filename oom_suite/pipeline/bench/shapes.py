"""The shapes that kernels are timed at, and what is timed there by default. No torch.

Source: vLLM #42504's tables A (scattered rows) and B (a part of 32,768 rows beside all of them by
block table); FlashMLA's own cases of DeepSeek-V4 (64 heads, 128 + 512 keys).
"""

from __future__ import annotations

from oom_suite.records.bench import Shape

GATHER, DECODE, PREFILL = "gather", "decode", "prefill"
PARTS = (GATHER, DECODE, PREFILL)

_KERNELS = "oom_suite.workloads.sparse_mla.kernels"
SPARSE, DENSE, FUSED, FLASH_MLA = "sparse", "dense", "fused", "flash_mla"
UNION = "union"
SPELLINGS = {
    SPARSE: f"{_KERNELS}.gather:dequantize_and_gather_k_cache_sparse",
    FUSED: f"{_KERNELS}.decode:fused_decode",
    UNION: f"{_KERNELS}.prefill:union_staging",
}
"""What a short name stands for; that of a built-in is its own."""

SUBJECTS = {
    GATHER: (SPARSE, DENSE),
    DECODE: (FUSED, "block_compaction", "token_gather", "streaming", FLASH_MLA),
    PREFILL: (UNION, "dense_staging"),
}
"""What is timed of each part where nothing else is asked for, the kernels of the suite first."""
PEERS = {DECODE: ("vllm==0.33.0", "vllm==0.22.0"), PREFILL: ("vllm==0.33.0",)}
"""Whose decode steps and prefills are timed beside."""

WORKLOADS = {GATHER: "gather", DECODE: "decode", PREFILL: "prefill-gather"}
"""What a subject of a part is loaded for."""

PREFILL_POOL_BLOCKS = 16_384
PREFILL_PERCENTS = (3, 12, 25, 50, 100)
PREFILL_CASES = (
    # Entries of the prefix, requests, queries of each.
    (32_768, 1, 2048),
    (32_768, 1, 256),
    (32_768, 4, 512),
    (262_144, 1, 2048),
)

_ALL_ROWS = 32_768
_TABLE_A, _TABLE_B = (
    "gather of scattered rows (#42504, table A)",
    f"gather of a part of {_ALL_ROWS:,} rows (#42504, table B)",
)
_GRID, _FLASH_MLA = "decode", "decode, FlashMLA's cases"
_CHUNKS = "prefill: rows for a part of the entries of a prefix"


def shapes(parts: tuple[str, ...]) -> list[Shape]:
    """The shapes of these parts, in order."""
    made = {GATHER: _gathers, DECODE: _decodes, PREFILL: _prefills}
    return [shape for part in PARTS if part in parts for shape in made[part]()]


def is_timed_at(subject: str, shape: Shape) -> bool:
    """Whether the subject has anything to do there: all rows by block table are in table B."""
    return subject != DENSE or shape.table == _TABLE_B


def _gathers() -> list[Shape]:
    scattered = [Shape(GATHER, _TABLE_A, {"rows": rows}) for rows in (16_384, 32_000, 262_144)]
    part = [
        Shape(GATHER, _TABLE_B, {"rows": _ALL_ROWS * percent // 100, "percent": percent})
        for percent in (100, 25, 12, 3)
    ]
    return [*scattered, *part]


def _decodes() -> list[Shape]:
    grid = [
        Shape(DECODE, _GRID, {"heads": heads, "tokens": tokens}, layer)
        for layer in ("swa_only", "c4a", "c128a")
        for heads in (8, 64, 128)
        for tokens in (1, 8, 64, 512)
    ]
    own = [
        Shape(DECODE, _FLASH_MLA, {"heads": 64, "tokens": batch}, "c4a")
        for batch in (2, 32, 64, 128, 256)
    ]
    return [*grid, *own]


def _prefills() -> list[Shape]:
    return [
        Shape(
            PREFILL,
            _CHUNKS,
            {"entries": entries, "requests": requests, "queries": queries, "percent": percent},
        )
        for entries, requests, queries in PREFILL_CASES
        for percent in PREFILL_PERCENTS
    ]
