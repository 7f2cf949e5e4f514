"""What the GPU's allocator counted is what the shadow lane said without a GPU."""

from __future__ import annotations

import pytest

from oom_suite.subjects.spec import BUILTIN_NAMES

pytestmark = pytest.mark.oom_device

SUBJECTS = (*BUILTIN_NAMES, "vllm==0.21.0", "vllm==0.33.0")
SIZES = (
    {"num_blocks": 64},
    {"num_blocks": 512},
    {"num_blocks": 512, "num_tokens": 1, "referenced_blocks": 1},
    {"num_blocks": 512, "num_tokens": 64, "num_heads": 64},
    {"num_blocks": 4096, "referenced_blocks": 512},
)


def sizes_id(sizes):
    return ",".join(f"{axis}={value}" for axis, value in sizes.items())


@pytest.mark.parametrize("sizes", SIZES, ids=sizes_id)
@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_requested_bytes_equal_the_shadow_lanes_to_the_byte(trace_of, subject, workload, sizes):
    """The allocator's own peak of requested bytes is the one that fake tensors predicted."""
    shadow = trace_of(subject, workload, "shadow", **sizes)
    measured = trace_of(subject, workload, "measure", **sizes)
    assert shadow.peak().num_bytes == measured.measurement.peaks.requested_bytes
