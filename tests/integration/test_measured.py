"""The shadow lane's predictions against what a GPU's allocator counted."""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path

import pytest

from fixtures.processes import runs_of
from oom_suite.allocator import peaks_of
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL, resize

MEASURED = json.loads((Path(__file__).parent / "measured.json").read_text("utf-8"))
AXES = ("block_size", "num_tokens", "num_heads", "swa_topk", "extra_topk")

# Its tests share children: one worker runs them all.
pytestmark = [pytest.mark.oom_registry, pytest.mark.xdist_group("measured")]


def name(row):
    blocks = f"{row['num_blocks']}x{row['block_size']}"
    widths = f"k{row['swa_topk']}+{row['extra_topk']}"
    return f"{row['vllm']}-{blocks}-t{row['num_tokens']}-h{row['num_heads']}-{widths}"


@pytest.fixture(scope="module")
def runs():
    """`runs(version)`: of that release, in one child."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda version: stack.enter_context(runs_of(f"vllm=={version}")))


@pytest.fixture
def trace(runs, row):
    sizes = {"num_blocks": row["num_blocks"], **{axis: row[axis] for axis in AXES}}
    return runs(row["vllm"]).known(resize(SMALL.sizes, sizes))


@pytest.mark.parametrize("row", MEASURED["rows"], ids=name)
def test_shadow_peak_equals_what_the_gpu_counted(row, trace):
    """The predicted peak of requested bytes is the H200's, to the byte."""
    assert row["requested"] == trace.peak().num_bytes


@pytest.mark.parametrize("row", MEASURED["rows"], ids=name)
def test_the_modelled_allocator_gives_what_the_gpu_allocated(row, trace):
    """The model's allocated peak is the H200's, to the byte, unsplit remainders included."""
    assert row["allocated"] == peaks_of(trace).allocated_bytes
