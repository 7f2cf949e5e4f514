"""One sparse MLA decode step as a workload: axes, promise, and where others have code for it.

No torch: builders are named, not imported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Polynomial, Workload
from oom_suite.records.workload import Builtin, Convention, Entry, Pool
from oom_suite.units import KIB, MIB
from oom_suite.workloads.sparse_mla.geometry.scenarios import (
    ISSUE_41962,
    SCENARIOS,
    TOGETHER,
    within_limit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SLOT = 2**31 - 1

DECODE_BOUND = Polynomial.of(
    {
        ("block_size", "referenced_blocks"): 4 * KIB,
        ("num_tokens", "swa_topk"): 16 * KIB,
        ("num_tokens", "extra_topk"): 16 * KIB,
        ("num_heads", "num_tokens", "swa_topk"): 16,
        ("num_heads", "num_tokens", "extra_topk"): 16,
        ("num_heads", "num_tokens"): 72 * KIB,
        ("num_tokens",): 256 * KIB,
        (): 64 * MIB,
    },
    order=(
        "referenced_blocks",
        "block_size",
        "num_tokens",
        "num_heads",
        "swa_topk",
        "extra_topk",
    ),
)
"""What a decode step may take: generous in every referenced thing, and in nothing else.

Per slot of a referenced block 4 KiB (two float32 copies of 512 values); per gathered slot
16 KiB (eight); per query, head and slot 16 bytes (four float32 scores); per query and head
72 KiB (36 float32 rows: the partial results of 32 splits, and four more); per query 256 KiB
(two float32 copies of a tile of 64 slots); and 64 MiB for workspaces of constant size.
"""


def _settle_decode(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
    """The same sizes with `referenced_blocks` lowered to what the pools and indices can name."""
    largest_pool = max(sizes["swa_num_blocks"], sizes["extra_num_blocks"])
    if largest_pool * sizes["block_size"] > _MAX_SLOT:
        return None
    return within_limit(sizes)


# Pools step by 64 so that one bit per block is a whole number of bytes per step.
_SWA_POOL = Axis("swa_num_blocks", step=64, far=(64, 4096, 1 << 20), unit="block")
_EXTRA_POOL = Axis("extra_num_blocks", step=64, far=(64, 4096, 1 << 20), unit="block")
_STEP_AXES = (
    Axis("num_tokens", step=1, far=(1, 128), unit="token"),
    Axis("num_heads", step=8, far=(8, 128), unit="head"),
    Axis("swa_topk", step=32, far=(32, 1024), unit="slot"),
)
_EXTRA_TOPK = Axis("extra_topk", step=32, far=(64, 2048), unit="slot")
_REFERENCED = Axis("referenced_blocks", step=4, far=(1, 512), unit="block")

CONVENTION = Convention(
    keywords=(
        "q",
        "kv_cache",
        "swa_k_cache",
        "swa_only",
        "topk_indices",
        "topk_lens",
        "swa_indices",
        "swa_lens",
        "attn_sink",
        "scale",
        "head_dim",
        "nope_head_dim",
        "rope_head_dim",
        "output",
    ),
    output="output",
)
"""What a decode step is called with.

Source: vLLM 0.21.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:1086`.
"""

VLLM_ENTRY = Entry(
    file="vllm/v1/attention/ops/rocm_aiter_mla_sparse.py",
    functions=("rocm_forward_decode_fallback", "rocm_sparse_attn_decode"),
    what="DeepSeek-V4 decode path for ROCm",
    first_release="0.21.0",
    adapt="oom_suite.subjects.families.vllm.decode:without_ragged",
    unfit="oom_suite.subjects.families.vllm.decode:two_fp8s",
)
"""vLLM's decode path. A tree that has both functions is tested on the older, with the bug.

Source: vLLM 0.21.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:1086`; 0.22.0 :1684.
"""

SGLANG_ENTRY = Entry(
    file="sglang/srt/layers/attention/hip_flash_mla.py",
    functions=("flash_mla_with_kvcache_torch",),
    what="sparse attention for HIP in torch alone",
    adapt="oom_suite.subjects.families.sglang.decode:flash_mla",
    beside=("sglang/kernels/ops/attention/dsv4/kv_layout.py",),
)
"""sglang's decode path for HIP where its backend is "torch".

Source: sglang 0.5.23 `sglang/srt/layers/attention/hip_flash_mla.py:246`.
"""

_SWA = Pool("swa_k_cache", "swa_indices", "swa_lens")
_EXTRA = Pool("kv_cache", "topk_indices", "topk_lens")

_BUILTINS = "oom_suite.workloads.sparse_mla.builtins"
BUILTINS = {
    "full_dequant": Builtin(f"{_BUILTINS}:full_dequant_decode", known_bug="reproduces #41962"),
    # `torch.unique` makes the host wait.
    "block_compaction": Builtin(f"{_BUILTINS}:block_compaction_decode", breaches=("capture",)),
    "token_gather": Builtin(f"{_BUILTINS}:token_gather_decode"),
    "streaming": Builtin(f"{_BUILTINS}:streaming_decode"),
}
"""The decode paths that come along: the bug, and three ways out."""

DECODE = Workload(
    name="decode",
    axes=(_SWA_POOL, _EXTRA_POOL, *_STEP_AXES, _EXTRA_TOPK, _REFERENCED),
    builder="oom_suite.workloads.sparse_mla.step:build",
    contract=Contract(independent_of=("swa_num_blocks", "extra_num_blocks"), at_most=DECODE_BOUND),
    settle=_settle_decode,
    convention=CONVENTION,
    scenarios=SCENARIOS,
    default_scenario=ISSUE_41962.name,
    together=TOGETHER,
    entries={"vllm": VLLM_ENTRY, "sglang": SGLANG_ENTRY},
    builtins=BUILTINS,
    pools=(_SWA, _EXTRA),
    variants="oom_suite.workloads.sparse_mla.variants:VARIANTS",
    oracle="oom_suite.workloads.sparse_mla.step:oracle",
    tolerance="oom_suite.workloads.sparse_mla.step:tolerance",
    is_assumed=True,
    leaves_inputs_untouched=True,
)
"""One decode step of a layer with a sliding-window cache and a compressed one (C4A, C128A)."""

DECODE_SWA = replace(
    DECODE,
    name="decode-swa",
    axes=(_SWA_POOL, *_STEP_AXES, _REFERENCED),
    builder="oom_suite.workloads.sparse_mla.step:build_swa_only",
    contract=Contract(independent_of=("swa_num_blocks",), at_most=DECODE_BOUND),
    entries={"vllm": replace(VLLM_ENTRY, unfit=""), "sglang": SGLANG_ENTRY},
    pools=(_SWA,),
)
"""One decode step of a layer with a sliding-window cache alone."""


@hookimpl
def oom_workloads() -> list[Workload]:
    """Both kinds of layer."""
    return [DECODE, DECODE_SWA]
