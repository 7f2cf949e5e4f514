"""How fast the kernels are on this GPU, beside the copy bandwidth of the same run.

    OOM_SUITE_EVIDENCE=FOLDER pytest benchmarks/bench_kernels.py --oom-device cuda -s

Calls are captured in one graph and rotate over inputs that exceed the L2 cache; times are the
device's, the median of seven replays. With vLLM's release in the cache, its Triton path is beside
ours. Without a GPU there is nothing to time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from oom_suite.workloads.sparse_mla.caches import paged_pool
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.kernels.decode import fused_decode
from oom_suite.workloads.sparse_mla.kernels.gather import (
    dequantize_and_gather_k_cache,
    dequantize_and_gather_k_cache_sparse,
)
from oom_suite.workloads.sparse_mla.step import SCALE

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="times kernels by a GPU's own events, and torch sees no GPU here",
)

ROW_BYTES = 584 + 1024
"""Read and written for a row of a gather."""
BLOCK_SIZE, NUM_BLOCKS = 64, 16_384
PEER = "vllm==0.33.0"


def time_us(calls: list[Callable[[], object]], replays: int = 7) -> float:
    """The median microseconds of one of the calls, which are replayed one after the other."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    graph.replay()
    times = []
    for _ in range(replays):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        graph.replay()
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last) * 1000 / len(calls))
    return sorted(times)[replays // 2]


def copy_gb_per_s() -> float:
    """Bytes read and written by a copy of 2 GiB, a second."""
    source = torch.empty(1 << 29, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(7):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        target.copy_(source)
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last) * 1000)
    return 2 * source.nbytes / sorted(times)[3] / 1e3


def filled_pool(num_blocks: int, block_size: int = BLOCK_SIZE) -> torch.Tensor:
    """A cache with finite values everywhere, uint8 [num_blocks, block_size, 584]."""
    pool = paged_pool(num_blocks, block_size, FP8_DS_MLA_V4, "cuda", padded=True)
    raw = pool.as_strided((pool.untyped_storage().nbytes(),), (1,))
    raw.random_(0, 256).bitwise_and_(0x7B)
    return pool


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Print the rows, and keep them where evidence is wanted."""
    found = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "copy_gb_per_s": round(copy_gb_per_s()),
        "rows": rows,
    }
    print(json.dumps(found, indent=1))
    if folder := os.environ.get("OOM_SUITE_EVIDENCE"):
        (Path(folder) / f"{name}.json").write_text(json.dumps(found, indent=1), "utf-8")


def sparse_calls(pool: torch.Tensor, num_rows: int, num_sets: int) -> list[Callable[[], object]]:
    """Gathers of scattered slots, each into rows of its own."""

    def made() -> Callable[[], object]:
        slots = torch.randperm(pool.shape[0] * BLOCK_SIZE, device="cuda")[:num_rows].int()
        out = torch.empty(num_rows, 512, dtype=torch.bfloat16, device="cuda")
        return lambda: dequantize_and_gather_k_cache_sparse(out, pool, slots, BLOCK_SIZE)

    return [made() for _ in range(num_sets)]


def dense_calls(pool: torch.Tensor, num_rows: int, num_sets: int) -> list[Callable[[], object]]:
    """Gathers of one request's whole prefix through a scattered block table."""

    def made() -> Callable[[], object]:
        blocks = num_rows // BLOCK_SIZE
        table = torch.randperm(pool.shape[0], device="cuda")[:blocks].int().unsqueeze(0)
        lens = torch.tensor([num_rows], dtype=torch.int32, device="cuda")
        out = torch.empty(1, num_rows, 512, dtype=torch.bfloat16, device="cuda")
        return lambda: dequantize_and_gather_k_cache(out, pool, lens, None, table, BLOCK_SIZE, 0)

    return [made() for _ in range(num_sets)]


def test_gathers_against_copy_bandwidth() -> None:
    """Scattered rows, and a part of 32,768 beside all of them: the tables of vLLM #42504."""
    pool, rows = filled_pool(NUM_BLOCKS), []
    for num_rows in (16_384, 32_000, 262_144):
        took = time_us(sparse_calls(pool, num_rows, 4 if num_rows > 100_000 else 16))
        rate = num_rows * ROW_BYTES / took / 1e3
        rows.append({"rows": num_rows, "us": round(took, 2), "gb_per_s": round(rate)})
    dense = time_us(dense_calls(pool, 32_768, 16))
    for percent in (3, 12, 25, 100):
        took = time_us(sparse_calls(pool, 32_768 * percent // 100, 16))
        rows.append(
            {
                "percent_of_32768": percent,
                "sparse_us": round(took, 2),
                "dense_us": round(dense, 2),
                "times_faster": round(dense / took, 2),
            }
        )
    write("bench-gather", rows)
    faster = {row["percent_of_32768"]: row["times_faster"] for row in rows[3:]}
    # What is referenced decides the time; all of it costs no more than by block table, but for
    # what two runs differ.
    assert faster[3] >= 1.75
    assert faster[100] >= 0.95


def decode_step(num_tokens: int, num_heads: int, layer: str, seed: int) -> dict[str, Any]:
    """A step of the model's own widths over pools of 4,096 blocks."""
    torch.manual_seed(seed)
    swa = filled_pool(4096)
    extra = None
    if layer != "swa_only":
        extra = filled_pool(4096 * 32, 2) if layer == "c128a" else filled_pool(4096)

    def slots(topk: int) -> torch.Tensor:
        return torch.randint(0, 4096 * 64, (num_tokens, topk), device="cuda").int()

    def lens(topk: int) -> torch.Tensor:
        return torch.full((num_tokens,), topk, dtype=torch.int32, device="cuda")

    return {
        "q": torch.randn(num_tokens, num_heads, 512, device="cuda").bfloat16(),
        "kv_cache": extra,
        "swa_k_cache": swa,
        "swa_only": extra is None,
        "topk_indices": None if extra is None else slots(512).unsqueeze(1),
        "topk_lens": None if extra is None else lens(512),
        "swa_indices": slots(128),
        "swa_lens": lens(128),
        "attn_sink": torch.randn(num_heads, device="cuda"),
        "scale": SCALE,
        "head_dim": 512,
        "nope_head_dim": 448,
        "rope_head_dim": 64,
        "output": torch.empty(num_tokens, num_heads, 512, dtype=torch.bfloat16, device="cuda"),
    }


def peer() -> Callable[..., object] | None:
    """The decode path of a vLLM release, where that is in the cache."""
    from oom_suite.doors import workload
    from oom_suite.subjects import load, parse

    try:
        return load(parse(PEER), workload("decode")).call
    except Exception as error:
        print(f"without {PEER}: {error}")
        return None


def scratch_bytes(call: Callable[[], object]) -> int:
    """What a call requests at its peak beyond what is there."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_stats()["requested_bytes.all.current"]
    call()
    torch.cuda.synchronize()
    return int(torch.cuda.memory_stats()["requested_bytes.all.peak"] - before)


def test_decode_beside_vllm() -> None:
    """Memory and time in one table, the two interleaved at each shape."""
    theirs, rows = peer(), []
    for layer in ("swa_only", "c4a", "c128a"):
        for num_heads in (8, 64, 128):
            for num_tokens in (1, 8, 64, 512):
                steps = [decode_step(num_tokens, num_heads, layer, seed) for seed in range(4)]
                row: dict[str, Any] = {"layer": layer, "heads": num_heads, "tokens": num_tokens}
                for name, call in (("fused", fused_decode), (PEER, theirs)):
                    if call is None:
                        continue
                    calls = [lambda step=step, call=call: call(**step) for step in steps]
                    row[f"{name} bytes"] = scratch_bytes(calls[0])
                    try:
                        row[f"{name} us"] = round(time_us(calls * 2), 2)
                    except RuntimeError as error:
                        row[f"{name} us"] = f"not captured: {str(error).splitlines()[0]}"
                        torch.cuda.synchronize()
                rows.append(row)
    write("bench-decode", rows)
    pairs = [(row["fused us"], row.get(f"{PEER} us")) for row in rows]
    # A fix that is slower than what it is to replace is merged by nobody.
    assert all(ours < other for ours, other in pairs if isinstance(other, float))
