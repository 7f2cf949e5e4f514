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
from typing import TYPE_CHECKING, Any

import pytest
import torch
from bench_kernels import filled_pool, scratch_bytes, time_us, write

import oom_suite
from oom_suite.pipeline.bench.prefill import PEER, chunk, sizes_of, vllm_staging
from oom_suite.pipeline.bench.shapes import PREFILL_CASES, PREFILL_PERCENTS, PREFILL_POOL_BLOCKS
from oom_suite.workloads.sparse_mla.builtins.dense_staging import dense_staging
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging
from oom_suite.workloads.sparse_mla.prefill.step import build, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="times kernels by a GPU's own events, and torch sees no GPU here",
)

NUM_SETS = 6


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
    pools = filled_pool(PREFILL_POOL_BLOCKS), filled_pool(PREFILL_POOL_BLOCKS)
    stagings = {"union": union_staging, "dense": dense_staging}
    try:
        stagings[PEER] = vllm_staging()
    except Exception as error:
        print(f"without {PEER}: {error}")
    rows = []
    for case in PREFILL_CASES:
        for percent in PREFILL_PERCENTS:
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
