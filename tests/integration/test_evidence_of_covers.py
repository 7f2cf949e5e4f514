"""Steps beside profile runs on a real device: what the formulas say is what was counted there."""

from __future__ import annotations

import pytest
from evidence_files import read

from oom_suite.pipeline.serving import Server, box_of
from oom_suite.subjects.families.vllm.profiles import PROFILES
from oom_suite.workloads.sparse_mla.geometry.models import FLASH

CASES = read("2026-11-28-h200-covers")["cases"]
IS_COVERED = {
    ("0.21.0", "decode-c4a"): False,
    ("0.25.0", "indexer-decode"): False,
    ("0.33.0", "indexer-prefill"): False,
    ("0.33.0", "decode-c4a"): True,
}


@pytest.fixture(params=CASES, ids=lambda case: f"{case['release']}-{case['step']}")
def case(request):
    return request.param


def server(case):
    flags = case["flags"]
    return Server(
        model=FLASH,
        max_model_len=flags["max_model_len"],
        max_num_batched_tokens=flags["max_num_batched_tokens"],
        max_num_seqs=flags["max_num_seqs"],
        num_speculative_tokens=flags["next_n"] - 1,
        tensor_parallel_size=8,
        num_gpu_blocks=32_768,
    )


def step(case):
    profile = next(
        each for each in PROFILES if (each.release, each.backend) == (case["release"], "rocm")
    )
    return next(each for each in profile.steps if each.name == case["step"])


def test_the_device_counted_the_scratch_that_the_formula_says(case):
    """The release's own early return, run on the device, took what is read from its source."""
    assert step(case).num_bytes(server(case).values()) == case["profile"]["scratch_bytes"]


def test_the_sizes_that_were_measured_are_in_the_box(case):
    """What was run is a step that can come at those flags."""
    box = {axis: (least, most) for axis, least, most in box_of(step(case), server(case))}
    outside = {
        axis: size
        for axis, size in case["sizes"].items()
        if not box[axis][0] <= size <= box[axis][1]
    }
    assert outside == {}


def test_the_step_is_covered_or_not_as_the_device_counted(case):
    """The real peak beside the profile run's own figure, on the same device."""
    (row,) = case["measured"]["json"]["rows"]
    assert row["measured"]["requested_bytes"] == row["predicted"]["requested_bytes"]
    is_covered = row["measured"]["requested_bytes"] <= case["profile"]["scratch_bytes"]
    assert is_covered is IS_COVERED[case["release"], case["step"]]
