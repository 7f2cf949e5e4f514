"""The shadow lane's predictions against what a GPU's allocator counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oom_suite.allocator import peaks_of
from oom_suite.processes.child import Child
from oom_suite.records import Job
from oom_suite.subjects.families.vllm import VLLM
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL, resize

MEASURED = json.loads((Path(__file__).parent / "measured.json").read_text("utf-8"))
AXES = ("block_size", "num_tokens", "num_heads", "swa_topk", "extra_topk")

pytestmark = pytest.mark.oom_registry


def name(row):
    blocks = f"{row['num_blocks']}x{row['block_size']}"
    widths = f"k{row['swa_topk']}+{row['extra_topk']}"
    return f"{row['vllm']}-{blocks}-t{row['num_tokens']}-h{row['num_heads']}-{widths}"


@pytest.fixture(scope="module")
def children():
    """One child for each release, started when first asked for."""
    started: dict[str, Child] = {}

    def child(version):
        if version not in started:
            root = str(VLLM.fetch(version))
            builder = "oom_suite.workloads.sparse_mla.step:build"
            job = Job(f"vllm=={version}", root, builder, "shadow", "cpu", "generic")
            started[version] = Child(
                "oom_suite.pipeline.worker:make_handler", (job,), time_limit_s=120
            )
        return started[version]

    yield child
    for each in started.values():
        each.close()


@pytest.fixture
def trace(children, row):
    sizes = {"num_blocks": row["num_blocks"], **{axis: row[axis] for axis in AXES}}
    return children(row["vllm"]).ask(resize(SMALL.sizes, sizes))


@pytest.mark.parametrize("row", MEASURED["rows"], ids=name)
def test_shadow_peak_equals_what_the_gpu_counted(row, trace):
    """The predicted peak of requested bytes is the H200's, to the byte."""
    assert row["requested"] == trace.peak().num_bytes


@pytest.mark.parametrize("row", MEASURED["rows"], ids=name)
def test_the_modelled_allocator_gives_what_the_gpu_allocated(row, trace):
    """The model's allocated peak is the H200's, to the byte, unsplit remainders included."""
    assert row["allocated"] == peaks_of(trace).allocated_bytes
