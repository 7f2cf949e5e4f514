"""Two workloads of a prefill: the workspace that keys are gathered in, and attention. No torch.

Source: vLLM 0.21.0 `vllm/model_executor/layers/deepseek_v4_attention.py:915` and
`vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:954`.
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

_STEP = "oom_suite.workloads.prefill.step"
_VARIANTS = "oom_suite.workloads.prefill.variants"
_ADAPT = "oom_suite.subjects.families.vllm.prefill"

ATTENTION_BOUND = Polynomial.of(
    {
        ("num_tokens", "used"): 16 * KIB,
        ("num_tokens", "num_heads", "used"): 16,
        ("num_tokens", "num_heads"): 16 * KIB,
        ("num_tokens", "width"): 16,
        (): 64 * MIB,
    },
    order=("num_tokens", "num_heads", "used", "width"),
)
"""What attention of a chunk may take: as a decode step, generous in every key that is attended.

Per query and key of it 16 KiB, eight float32 rows; per head of it 16 bytes, four scores, and
16 KiB, eight rows; 16 bytes for each index that there is room for, which is four copies of it.
"""

WORKSPACE_BOUND = Polynomial.of(
    {
        ("num_prefills", "context_len"): 512,
        ("num_prefills", "query_len"): 8 * KIB,
        ("num_prefills",): 512 * KIB,
        ("max_num_batched_tokens",): 3 * KIB,
        (): MIB,
    },
    order=("num_prefills", "query_len", "context_len", "max_num_batched_tokens"),
)
"""What the workspace of the prefills of a step may take.

The keys that they read are a quarter of the context as bf16 rows of 1 KiB, so 256 bytes a token of
it, here twice; the window and the new tokens have rows of their own, and the indices of a query
take 2.5 KiB. For each token that a step can have, 3 KiB: the indices of all queries.
"""

RESERVATION_BOUND = Polynomial.of(
    {("max_model_len",): 2 * KIB, ("max_num_batched_tokens",): 8 * KIB, (): MIB},
    order=("max_model_len", "max_num_batched_tokens"),
)
"""What a profile run may reserve: twice the rows of four requests of the longest context.

Four requests have a row of 1 KiB for every fourth token of their context, so 1 KiB a token, and
one for each token that a step can have, so 4 KiB.
"""

_BY_DESIGN = {
    "max_num_batched_tokens": "the indices of a step's queries have a fixed place, so that the "
    "workspace keeps its size after the server's start",
}


def _settle_attention(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
    """The same sizes with no more indices used than there is room for."""
    return {**sizes, "used": min(sizes["used"], sizes["width"])}


_MOST_PREFILLS = 4
"""As many as every release takes at once, so that a step is one chunk."""


def _settle_workspace(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
    """The same sizes within what the server allows: contexts and new tokens no longer."""
    prefills = min(sizes["num_prefills"], _MOST_PREFILLS)
    context = min(sizes["context_len"], sizes["max_model_len"])
    query = min(sizes["query_len"], context, sizes["max_num_batched_tokens"] // prefills)
    if query < 1:
        return None
    return {**sizes, "num_prefills": prefills, "context_len": context, "query_len": query}


SPARSE_PREFILL = Workload(
    name="sparse-prefill",
    axes=(
        Axis("num_tokens", step=16, far=(16, 8192), unit="token"),
        Axis("num_heads", step=8, far=(8, 128), unit="head"),
        Axis("num_keys", step=64, far=(64, 1 << 20), unit="key"),
        Axis("width", step=128, far=(128, 8192), lower=128, unit="index"),
        Axis("used", step=16, far=(16, 1024), unit="index"),
    ),
    builder=f"{_STEP}:build_attention",
    contract=Contract(independent_of=("num_keys",), at_most=ATTENTION_BOUND),
    settle=_settle_attention,
    convention=Convention(
        (
            "q",
            "kv",
            "indices",
            "topk_length",
            "scale",
            "head_dim",
            "nope_head_dim",
            "rope_head_dim",
            "attn_sink",
            "output",
        ),
        optional=("nope_head_dim", "rope_head_dim"),
        output="output",
    ),
    pools=(Pool("kv", "indices", "topk_length"),),
    variants=f"{_VARIANTS}:VARIANTS",
    oracle=f"{_VARIANTS}:oracle",
    tolerance=f"{_VARIANTS}:tolerance",
    scenarios={
        one.name: one
        for one in (
            Scenario(
                "c128a",
                {"num_tokens": 2048, "num_heads": 8, "num_keys": 8192, "width": 1024, "used": 144},
                "2,048 tokens of a prompt of 2,048 where 98,304 are possible, at 128 tokens a key",
            ),
            Scenario(
                "small",
                {"num_tokens": 16, "num_heads": 8, "num_keys": 256, "width": 128, "used": 16},
                "a chunk as small as those of ordinary tests",
            ),
        )
    },
    default_scenario="c128a",
    entries={
        "vllm": Entry(
            file="vllm/v1/attention/ops/rocm_aiter_mla_sparse.py",
            functions=("rocm_sparse_attn_prefill",),
            what="sparse prefill for ROCm",
            first_release="0.21.0",
        )
    },
    is_scanned_alone=True,
    by_design={
        "width": "indices come in rows as wide as the longest context needs, and are packed once"
    },
)
"""Sparse attention of a prefill's chunk, whose rows of indices are wider than what they hold."""

_SIZES = {
    "num_blocks": 4096,
    "num_prefills": 1,
    "query_len": 2048,
    "context_len": 8192,
    "num_heads": 8,
    "max_model_len": 98_304,
    "max_num_batched_tokens": 8192,
}
_MOVED = "vllm/model_executor/layers/deepseek_v4_attention.py"

PREFILL_WORKSPACE = Workload(
    name="prefill-workspace",
    axes=(
        Axis("num_blocks", step=64, far=(64, 1 << 16), unit="block"),
        Axis("num_prefills", step=1, far=(1, 4), unit="request"),
        Axis("query_len", step=64, far=(64, 1024), lower=64, unit="token"),
        Axis("context_len", step=64, far=(256, 65_536), lower=64, unit="token"),
        Axis("max_model_len", step=64, far=(8192, 1 << 20), lower=64, unit="token"),
        Axis("max_num_batched_tokens", step=64, far=(2048, 1 << 16), lower=64, unit="token"),
    ),
    builder=f"{_STEP}:build_workspace",
    contract=Contract(independent_of=("num_blocks", "max_model_len"), at_most=WORKSPACE_BOUND),
    host=False,
    settle=_settle_workspace,
    convention=Convention(
        (
            "q",
            "output",
            "swa_k_cache",
            "compressed_k_cache",
            "block_table",
            "seq_lens",
            "query_lens",
            "gather_lens",
            "query_start_loc",
            "seq_lens_cpu",
            "query_lens_cpu",
            "gather_lens_cpu",
            "query_start_loc_cpu",
            "topk_indices",
            "attn_sink",
            "window_size",
            "compress_ratio",
            "max_model_len",
            "max_num_batched_tokens",
        ),
        output="output",
    ),
    scenarios={
        one.name: one
        for one in (
            Scenario(
                "chunk", _SIZES, "2,048 tokens of a prompt of 8,192 where 98,304 are possible"
            ),
            Scenario(
                "small",
                {
                    **_SIZES,
                    "num_blocks": 64,
                    "query_len": 64,
                    "context_len": 256,
                    "max_model_len": 1024,
                    "max_num_batched_tokens": 256,
                },
                "a chunk as small as those of ordinary tests",
            ),
        )
    },
    default_scenario="chunk",
    entries={
        "vllm": Entry(
            file="vllm/models/deepseek_v4/nvidia/flashmla.py",
            functions=(
                "DeepseekV4FlashMLAAttention._forward_prefill",
                "DeepseekV4FlashMLASparseImpl._forward_prefill",
                "DeepseekV4MLAAttention._forward_prefill",
            ),
            what="prefill of DeepSeek-V4 for NVIDIA",
            first_release="0.20.0",
            adapt=f"{_ADAPT}:workspace_alone",
            elsewhere=(_MOVED,),
            beside=("vllm/v1/attention/backends/mla/sparse_swa.py",),
            stubs=("transformers",),
        )
    },
    is_scanned_alone=True,
    by_design=_BY_DESIGN,
    made_for="cuda",
)
"""The workspace of a step's prefills on NVIDIA: keys gathered as bf16 rows, and indices.

It has no oracle: the kernels that would fill it are stand-ins, so its values mean nothing.
"""

PREFILL_WORKSPACE_ROCM = replace(
    PREFILL_WORKSPACE,
    name="prefill-workspace-rocm",
    entries={
        "vllm": replace(
            PREFILL_WORKSPACE.entries["vllm"],
            file="vllm/models/deepseek_v4/amd/rocm.py",
            functions=(
                "DeepseekV4ROCMAiterMLAAttention._forward_prefill",
                "DeepseekV4ROCMAiterMLASparseImpl._forward_prefill",
                "DeepseekV4MLAAttention._forward_prefill",
            ),
            what="prefill of DeepSeek-V4 for ROCm",
        )
    },
    made_for="rocm",
)
"""The same on ROCm."""


_RESERVED = (
    "the workspace keeps its size once the pool has the rest of the memory, so the profile run "
    "reserves for four requests of the longest context"
)


def _reservation(step: Workload, name: str, owners: tuple[str, ...]) -> Workload:
    """What a profile run reserves for the prefills of a workload."""
    entry = replace(
        step.entries["vllm"],
        functions=tuple(f"{owner}.forward_mqa" for owner in owners),
        what=step.entries["vllm"].what.replace("prefill", "profile run"),
        first_release="0.22.0",
        adapt=f"{_ADAPT}:reservation_alone",
        elsewhere=(),
        beside=(),
    )
    return replace(
        step,
        name=name,
        contract=Contract(independent_of=("num_blocks",), at_most=RESERVATION_BOUND),
        entries={"vllm": entry},
        by_design={"max_model_len": _RESERVED, "max_num_batched_tokens": _RESERVED},
    )


PREFILL_RESERVATION = _reservation(
    PREFILL_WORKSPACE,
    "prefill-reservation",
    ("DeepseekV4FlashMLAAttention", "DeepseekV4FlashMLASparseImpl"),
)
"""What a profile run reserves for prefills on NVIDIA; nothing is computed, so no oracle either."""

PREFILL_RESERVATION_ROCM = _reservation(
    PREFILL_WORKSPACE_ROCM,
    "prefill-reservation-rocm",
    ("DeepseekV4ROCMAiterMLAAttention", "DeepseekV4ROCMAiterMLASparseImpl"),
)
"""The same on ROCm."""


@hookimpl
def oom_workloads() -> list[Workload]:
    """Those of a prefill."""
    return [
        SPARSE_PREFILL,
        PREFILL_WORKSPACE,
        PREFILL_WORKSPACE_ROCM,
        PREFILL_RESERVATION,
        PREFILL_RESERVATION_ROCM,
    ]
