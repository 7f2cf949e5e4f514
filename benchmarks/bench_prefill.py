"""A sparse prefill's rows by their union, beside whole prefixes: bytes by law, measured, and time.

    OOM_SUITE_EVIDENCE=FOLDER pytest benchmarks/bench_prefill.py --oom-device cuda -s

The queries of a chunk name 3 to 100 % of the entries of a prefix. Beside `union_staging` are the
built-in `dense_staging` and, where its files can be had, what vLLM's own Triton kernels do in the
order of its prefill: those of the release, or of a tree that OOM_SUITE_VLLM_TREE names. (Where
CuTe DSL is installed, vLLM takes another kernel for its gathers.) Calls are captured and timed as
in `bench_kernels`. Without a GPU there is nothing to time.
"""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from bench_kernels import filled_pool, scratch_bytes, time_us, write

import oom_suite
from oom_suite.workloads.sparse_mla.builtins.dense_staging import dense_staging
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging
from oom_suite.workloads.sparse_mla.prefill.step import build, fetch
from oom_suite.workloads.sparse_mla.prefill.workload import PREFILL_GATHER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="times kernels by a GPU's own events, and torch sees no GPU here",
)

VERSION = "0.33.0"
_WARMUP = "vllm/model_executor/warmup/jit_warmup"
_OPERATIONS = "vllm/models/deepseek_v4/common/ops/cache_utils.py"
_HELPERS = (f"{_WARMUP}.py", f"{_WARMUP}_triton_helper.py")
"""What vLLM's kernels are launched by. They load as they are."""

PERCENTS = (3, 12, 25, 50, 100)
NUM_BLOCKS, NUM_SETS = 16_384, 6
CASES = (
    # Entries of the prefix, requests, queries of each.
    (32_768, 1, 2048),
    (32_768, 1, 256),
    (32_768, 4, 512),
    (262_144, 1, 2048),
)


def sizes_of(case: tuple[int, int, int], percent: int) -> dict[str, int]:
    """The workload's sizes of a case; its entries are the prefix's and the chunk's own."""
    num_entries, num_requests, num_queries = case
    wanted = {
        "num_blocks": NUM_BLOCKS,
        "prefix_len": 4 * num_entries - num_queries,
        "num_requests": num_requests,
        "num_queries": num_queries,
        "union_rows": num_entries * percent // 100,
    }
    return dict(PREFILL_GATHER.settle({**PREFILL_GATHER.scenario().sizes, **wanted}) or {})


def chunk(sizes: Mapping[str, int], pools: tuple[torch.Tensor, torch.Tensor], seed: int) -> Any:
    """A step of these sizes: scattered blocks, and entries in no order."""
    generator = torch.Generator(device="cuda").manual_seed(seed)
    step = build({**sizes, "num_blocks": 1}, "cuda")
    num_entries, union_rows = step["max_compressed_len"], sizes["union_rows"]
    shape = (sizes["num_queries"], sizes["topk"])
    place = torch.arange(shape[0] * shape[1], device="cuda") % union_rows
    named = []
    for _ in range(sizes["num_requests"]):
        order = torch.randperm(num_entries, device="cuda", generator=generator)[:union_rows]
        named.append(order[place].view(shape).int())
    step["topk_indices"] = torch.cat(named)
    for name, table, pool in (
        ("k_cache", "block_table", pools[0]),
        ("swa_k_cache", "swa_block_table", pools[1]),
    ):
        wanted = step[table].numel()
        blocks = torch.randperm(len(pool), device="cuda", generator=generator).int()
        step[name] = pool
        step[table] = blocks.repeat(-(-wanted // len(pool)))[:wanted].view_as(step[table])
    return step


def _without_cutedsl(given: object) -> dict[str, Any]:
    del given
    return {"has_cutedsl": lambda: False}


@functools.cache
def vllm_staging() -> Callable[..., None] | None:
    """What vLLM's prefill does before its attention, with its own kernels; None without them.

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
    try:
        files = VLLM.needed_files() | {_OPERATIONS, *_HELPERS}
        tree = os.environ.get("OOM_SUITE_VLLM_TREE")
        root = Path(tree) if tree else fetch(Project("vllm", "vLLM"), VERSION, files)
        loaded = family.open(root, _OPERATIONS, "sm_90")
    except Exception as error:
        print(f"without vLLM {VERSION}: {error}")
        return None
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


def predicted_bytes(staging: Callable[..., None], given: Mapping[str, int]) -> int:
    """What a staging will ask for on an H200 at these sizes."""

    def made(sizes: Any, device: torch.device) -> Callable[[], None]:
        del sizes
        return functools.partial(staging, **build(given, device))

    found = oom_suite.predict(made, dict(given), target="cuda:sm_90")
    assert not found.unseen
    return found.peak_requested_bytes


def fetched(staging: Callable[..., None], step: dict[str, Any]) -> torch.Tensor:
    """The rows that the last queries of a chunk find."""
    found: list[torch.Tensor] = []

    def some(kv: torch.Tensor, indices: torch.Tensor, lens: torch.Tensor, _: object) -> None:
        output = kv.new_empty((8, indices.shape[1], 512))
        fetch(kv, indices[-8:], lens[-8:], output)
        found.append(output)

    staging(**{**step, "attend": some})
    return found[0]


@needs_gpu
def test_prefill_by_union_beside_whole_prefixes() -> None:
    """Bytes by law and measured, and time, all in one table; all find the same rows."""
    pools = filled_pool(NUM_BLOCKS), filled_pool(NUM_BLOCKS)
    stagings = {"union": union_staging, "dense": dense_staging}
    if (theirs := vllm_staging()) is not None:
        stagings[f"vllm=={VERSION}"] = theirs
    rows = []
    for case in CASES:
        for percent in PERCENTS:
            sizes = sizes_of(case, percent)
            steps = [chunk(sizes, pools, seed) for seed in range(NUM_SETS)]
            names = ("prefix_len", "num_requests", "num_queries", "union_rows")
            row: dict[str, Any] = {"percent": percent, **{name: sizes[name] for name in names}}
            wanted = fetched(union_staging, steps[0])
            for name, staging in stagings.items():
                assert torch.equal(wanted, fetched(staging, steps[0])), name
                calls = [functools.partial(staging, **step) for step in steps]
                calls[0]()
                row[f"{name} bytes"] = scratch_bytes(calls[0])
                row[f"{name} us"] = round(time_us(calls * 2), 2)
                if name in ("union", "dense"):
                    row[f"{name} predicted bytes"] = predicted_bytes(staging, sizes)
            rows.append(row)
            del steps, calls
    write("bench-prefill", rows)
    for row in rows:
        assert row["union predicted bytes"] == row["union bytes"]
        assert row["dense predicted bytes"] == row["dense bytes"]
        assert row["union bytes"] <= row["dense bytes"] * 1.01
        # Where a tenth of a prefix is named, to find which tenth costs less than to decode all.
        if row["percent"] <= 12:
            assert row["union us"] < row["dense us"]


def test_what_the_union_and_the_whole_prefix_take_is_their_law() -> None:
    """Without a GPU: the table's predicted bytes at an eighth of 131,072 tokens."""
    sizes = sizes_of((32_768, 1, 2048), 12)
    rows = 2048 + 127
    indices = 4 * 2048 * (640 + 1)
    union, dense = (predicted_bytes(one, sizes) for one in (union_staging, dense_staging))
    assert (1028 * 3932 + 1024 * rows + indices) == union
    assert (1024 * (32_768 + rows) + indices) == dense
