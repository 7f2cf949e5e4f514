"""What this package adds to oom-suite. No torch: what needs it is named, and imported later."""

from __future__ import annotations

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Convention, Scenario, Workload
from oom_suite.records.workload import Entry, Pool
from oom_suite.subjects.families.package import PackageFamily

_POOL = Axis("num_blocks", step=64, far=(64, 4096, 1 << 16), unit="block")
_BATCH = Axis("batch", step=1, far=(2, 16), lower=2, unit="request")
_HEADS = Axis("num_heads", step=16, far=(16, 128), unit="head")
_PROMISE = Contract(independent_of=("num_blocks",))


def _whole_blocks(sizes):
    """The same sizes with a length of whole blocks, which the code takes for granted."""
    blocks = max(1, sizes["max_model_len"] // sizes["block_size"])
    return {**sizes, "max_model_len": blocks * sizes["block_size"]}


def _indexer_sizes(num_blocks, next_n):
    return {
        "num_blocks": num_blocks,
        "block_size": 64,
        "batch": 2,
        "next_n": next_n,
        "num_heads": 64,
        "max_model_len": 1024,
    }


INDEXER_LOGITS = Workload(
    name="indexer-scores",
    axes=(_POOL, _BATCH, _HEADS, Axis("max_model_len", step=64, far=(64, 2048), unit="token")),
    builder="indexer_memory.indexer_logits:build",
    contract=_PROMISE,
    settle=_whole_blocks,
    convention=Convention(
        ("q", "kv_cache", "weights", "context_lens", "block_tables", "max_model_len")
    ),
    scenarios={
        "speculative": Scenario(
            "speculative", _indexer_sizes(4096, 2), "two tokens of each request are scored at once"
        ),
        "plain": Scenario("plain", _indexer_sizes(4096, 1), "one token of each request is scored"),
    },
    entries={
        "vllm": Entry(
            file="vllm/v1/attention/ops/rocm_aiter_mla_sparse.py",
            functions=("fp8_paged_mqa_logits_torch",),
            what="paged indexer for ROCm in torch alone",
        )
    },
)
"""The logits of the lightning indexer over a paged cache.

Source: vLLM 0.21.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:228`, 0.33.0 :441.
"""

_QSA = Entry(
    file="sglang/srt/layers/attention/qsa/mqa.py",
    functions=("torch_qsa_mqa_decode",),
    what="QSA indexer in torch alone",
)
QSA_DECODE = Workload(
    name="qsa-decode",
    axes=(_POOL, _BATCH, Axis("pages", step=1, far=(2, 64), lower=2, unit="page")),
    builder="indexer_memory.qsa_decode:build",
    contract=_PROMISE,
    convention=Convention(("q", "k_cache", "page_table", "context_lens", "max_model_len")),
    scenarios={
        "decode": Scenario(
            "decode",
            {"num_blocks": 4096, "block_size": 64, "batch": 2, "pages": 8, "num_heads": 16},
            "two requests of 512 tokens",
        )
    },
    entries={"sglang-wheel": _QSA, "sglang-wheel+flashmla": _QSA},
    pools=(Pool("k_cache", "page_table", "context_lens", names="blocks"),),
    variants="indexer_memory.qsa_decode:VARIANTS",
)
"""The logits of sglang's QSA indexer over a paged cache.

It has small steps with contents and says what names the cache's blocks, so that most safety
detectors can run; without an oracle the others say that they have none.

Source: sglang 0.5.23 `sglang/srt/layers/attention/qsa/mqa.py:80`.
"""

_FLASH_MLA = Entry(
    file="sglang/srt/layers/attention/hip_flash_mla.py",
    functions=("flash_mla_with_kvcache_torch",),
    what="sparse MLA for HIP in torch alone",
)
FLASH_MLA = Workload(
    name="flash-mla",
    axes=(_POOL, _BATCH, _HEADS, Axis("topk", step=64, far=(64, 512), unit="slot")),
    builder="indexer_memory.flash_mla:build",
    contract=_PROMISE,
    convention=Convention(
        (
            "q",
            "k_cache",
            "block_table",
            "cache_seqlens",
            "head_dim_v",
            "tile_scheduler_metadata",
            "softmax_scale",
            "is_fp8_kvcache",
            "indices",
            "topk_length",
            "attn_sink",
        )
    ),
    scenarios={
        "decode": Scenario(
            "decode",
            {"num_blocks": 4096, "block_size": 64, "batch": 4, "num_heads": 64, "topk": 128},
            "four requests, 128 slots of each",
        )
    },
    entries={"sglang-wheel": _FLASH_MLA, "sglang-wheel+flashmla": _FLASH_MLA},
)
"""One sparse decode step of DeepSeek-V4 over a paged fp8 cache.

Source: sglang 0.5.23 `sglang/srt/layers/attention/hip_flash_mla.py:246`.
"""


def _sglang(name, **more):
    """The family: of sglang's wheel a few files are loaded, as they are."""
    return PackageFamily(
        name,
        title="sglang",
        project="sglang",
        archive="wheel",
        pure_files=("sglang/kernels/ops/attention/dsv4/kv_layout.py",),
        version_file="sglang/_version.py",
        absent=("aiter", "flashinfer", "tilelang"),
        unknown_modules="as released",
        has_arch=True,
        **more,
    )


_FP8 = {"sglang.kernels.ops.quantization.fp8_kernel": "indexer_memory.flash_mla:fp8_kernel"}
_STAND_IN = {
    f"sglang.srt.flashmla_tests.{module}": f"indexer_memory.flashmla_tests:{module}"
    for module in ("quant", "lib", "ref")
}

SGLANG = _sglang("sglang-wheel", supplies=_FP8)
SGLANG_WITH_FLASHMLA = _sglang(
    "sglang-wheel+flashmla",
    supplies=_FP8 | _STAND_IN,
    note="sglang.srt.flashmla_tests is not in sglang's wheel; indexer_memory's stand-in ran, and "
    "what its lines allocate is not sglang's choice, but for the whole cache that it is given",
)


@hookimpl
def oom_workloads():
    return [INDEXER_LOGITS, QSA_DECODE, FLASH_MLA]


@hookimpl
def oom_subject_families():
    return [SGLANG, SGLANG_WITH_FLASHMLA]


@hookimpl
def oom_faults():
    """What shows that a fault in code of such a workload is caught."""
    return ["indexer_memory.qsa_faults"]
