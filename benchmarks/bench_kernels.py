"""What the kernels have to reach on this GPU: `oom-suite bench`, held against what is promised.

    OOM_SUITE_EVIDENCE=FOLDER pytest benchmarks/bench_kernels.py --oom-device cuda -s

Without a GPU there is nothing to time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from oom_suite.pipeline.bench.clock import copy_gb_per_s, scratch_bytes, time_us
from oom_suite.pipeline.bench.inputs import filled_pool
from oom_suite.pipeline.bench.run import Options, bench
from oom_suite.report.bench import render_bench
from oom_suite.report.screen import screen

if TYPE_CHECKING:
    from oom_suite.records.bench import Bench

__all__ = ["filled_pool", "scratch_bytes", "time_us", "write"]

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="times kernels by a GPU's own events, and torch sees no GPU here",
)

PEER = "vllm==0.33.0"


def keep(name: str, found: dict[str, Any]) -> None:
    """Write what was found where evidence is wanted."""
    if folder := os.environ.get("OOM_SUITE_EVIDENCE"):
        (Path(folder) / f"{name}.json").write_text(json.dumps(found, indent=1), "utf-8")


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Print the rows, and keep them where evidence is wanted."""
    found = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "copy_gb_per_s": round(copy_gb_per_s()),
        "rows": rows,
    }
    print(json.dumps(found, indent=1))
    keep(name, found)


def timed(name: str, options: Options) -> Bench:
    """A run of the benchmark, printed, and kept as far as it has come."""
    found = bench(options, lambda known: keep(name, known.to_json()))
    render_bench(found, screen())
    return found


def test_gathers_against_copy_bandwidth() -> None:
    """Scattered rows, and a part of 32,768 beside all of them: the tables of vLLM #42504."""
    found = timed("bench-gather", Options.of(only=["gather"]))
    faster, bandwidth = {}, {}
    for row in found.rows:
        times = {one.subject: one.elapsed_us for one in row.timings}
        moved = row.timings[0].moved_bytes
        bandwidth[row.shape.sizes["rows"]] = (moved or 0) / (times.get("sparse") or 1) / 1e3
        if sparse := times.get("sparse"):
            faster[row.shape.sizes.get("percent")] = (times.get("dense") or 0) / sparse
    # What is referenced decides the time; all of it costs no more than by block table, but for
    # what two runs differ.
    assert faster[3] >= 1.75
    assert faster[100] >= 0.95
    if torch.cuda.get_device_capability() == (9, 0):
        assert bandwidth[262_144] >= 0.9 * found.device.copy_gb_per_s


def test_decode_beside_vllm() -> None:
    """Memory and time in one table, the two interleaved at each shape."""
    found = timed("bench-decode", Options.of(only=["decode"], subjects=["fused"], peers=[PEER]))
    rows = [{one.subject: one.elapsed_us for one in row.timings} for row in found.rows]
    assert all(row["fused"] for row in rows)
    # A fix that is slower than what it is to replace is merged by nobody.
    assert all(row["fused"] < row[PEER] for row in rows if row.get(PEER))
