"""Chunks of a sparse prefill at the sizes of a server, and what vLLM does with them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.pipeline.bench.shapes import PREFILL_POOL_BLOCKS
from oom_suite.workloads.sparse_mla.prefill.step import build
from oom_suite.workloads.sparse_mla.prefill.workload import PREFILL_GATHER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VERSION = "0.33.0"
PEER = f"vllm=={_VERSION}"
_WARMUP = "vllm/model_executor/warmup/jit_warmup"
_OPERATIONS = "vllm/models/deepseek_v4/common/ops/cache_utils.py"
_HELPERS = (f"{_WARMUP}.py", f"{_WARMUP}_triton_helper.py")
"""What vLLM's kernels are launched by. They load as they are."""


def sizes_of(case: tuple[int, int, int], percent: int) -> dict[str, int]:
    """The workload's sizes of a case; its entries are the prefix's and the chunk's own."""
    num_entries, num_requests, num_queries = case
    wanted = {
        "num_blocks": PREFILL_POOL_BLOCKS,
        "prefix_len": 4 * num_entries - num_queries,
        "num_requests": num_requests,
        "num_queries": num_queries,
        "union_rows": num_entries * percent // 100,
    }
    return dict(PREFILL_GATHER.settle({**PREFILL_GATHER.scenario().sizes, **wanted}) or {})


def chunk(
    sizes: Mapping[str, int], pools: tuple[torch.Tensor, torch.Tensor], seed: int
) -> dict[str, Any]:
    """A step of these sizes over these caches: scattered blocks, and entries in no order."""
    device = pools[0].device
    generator = torch.Generator(device=device).manual_seed(seed)
    step = build({**sizes, "num_blocks": 1}, device)
    num_entries, union_rows = step["max_compressed_len"], sizes["union_rows"]
    shape = (sizes["num_queries"], sizes["topk"])
    place = torch.arange(shape[0] * shape[1], device=device) % union_rows
    named = []
    for _ in range(sizes["num_requests"]):
        order = torch.randperm(num_entries, device=device, generator=generator)[:union_rows]
        named.append(order[place].view(shape).int())
    step["topk_indices"] = torch.cat(named)
    for name, table, pool in (
        ("k_cache", "block_table", pools[0]),
        ("swa_k_cache", "swa_block_table", pools[1]),
    ):
        wanted = step[table].numel()
        blocks = torch.randperm(len(pool), device=device, generator=generator).int()
        step[name] = pool
        step[table] = blocks.repeat(-(-wanted // len(pool)))[:wanted].view_as(step[table])
    return step


def _without_cutedsl(_: object) -> dict[str, Any]:
    return {"has_cutedsl": lambda: False}


def vllm_staging() -> Callable[..., None]:
    """What vLLM's prefill does before its attention, with its own kernels.

    They are those of the release, or of a tree that ``OOM_SUITE_VLLM_TREE`` names.

    Raises:
        OomSuiteError: its files cannot be had or loaded.

    Source: vLLM 0.33.0 `models/deepseek_v4/nvidia/flashmla.py:310-375`.
    """
    from oom_suite.subjects.families.releases import Project, fetch
    from oom_suite.subjects.families.vllm import VLLM

    import_utils = {"vllm.utils.import_utils": f"{__name__}:_without_cutedsl"}
    family = replace(
        VLLM,
        pure_files=(*VLLM.pure_files, *_HELPERS),
        supplies={**VLLM.supplies, **import_utils},
    )
    files = VLLM.needed_files() | {_OPERATIONS, *_HELPERS}
    tree = os.environ.get("OOM_SUITE_VLLM_TREE")
    root = Path(tree) if tree else fetch(Project("vllm", "vLLM"), _VERSION, files)
    loaded = family.open(root, _OPERATIONS, "sm_90")
    gather = loaded.module.dequantize_and_gather_k_cache
    combine = loaded.module.combine_topk_swa_indices

    def staging(**step: Any) -> None:
        topk_indices, seq_lens = step["topk_indices"], step["seq_lens"]
        num_queries, topk = topk_indices.shape
        first_swa = step["max_compressed_len"]
        num_rows = first_swa + step["max_gather_len"]
        width = -(-(topk + step["window_size"]) // 128) * 128
        kv = torch.empty(
            (len(seq_lens), num_rows, 512), dtype=torch.bfloat16, device=seq_lens.device
        )
        made = topk_indices.new_empty((num_queries, width)), topk_indices.new_empty(num_queries)
        cache, table = step["k_cache"], step["block_table"]
        lens = seq_lens // step["compress_ratio"]
        gather(kv, cache, lens, None, table, cache.shape[1], 0)
        cache, table = step["swa_k_cache"], step["swa_block_table"]
        gather(kv, cache, seq_lens, step["gather_lens"], table, cache.shape[1], first_swa)
        combine(
            topk_indices, step["query_start_loc"], seq_lens, step["gather_lens"],
            step["window_size"], step["compress_ratio"], topk, num_rows, first_swa, out=made,
        )  # fmt: skip
        step["attend"](kv.view(-1, 512), *made, step["output"])

    return loaded.during(staging)
