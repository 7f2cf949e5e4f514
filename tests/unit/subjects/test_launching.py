"""Which subjects are taken to launch Triton kernels, so that a CPU interprets them."""

from __future__ import annotations

import pytest

from oom_suite.subjects import family_of, parse

KERNELS = "oom_suite.workloads.sparse_mla.kernels"


@pytest.mark.parametrize(
    ("subject", "may"),
    [
        ("streaming", False),
        ("dense_staging", True),
        (f"{KERNELS}.prefill:union_staging", True),
        (f"{KERNELS}.chunk:Chunk", False),
        ("vllm==0.33.0", True),
    ],
)
def test_code_that_mentions_triton_may_launch_its_kernels(subject, may):
    """A file of anybody's, a built-in's file, and every release of a server."""
    spec = parse(subject)
    assert may is family_of(spec).may_launch_kernels(spec)
