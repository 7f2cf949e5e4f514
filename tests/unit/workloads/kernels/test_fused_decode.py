"""What a decode step in one pass takes, which kernel it launches where, and how it is split."""

from __future__ import annotations

import pytest
import torch

from oom_suite.errors import UsageError
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL, resize
from oom_suite.workloads.sparse_mla.kernels.decode import fused_decode
from oom_suite.workloads.sparse_mla.kernels.parts import MOST_PROGRAMS, num_splits
from oom_suite.workloads.sparse_mla.step import build, build_swa_only

PART_BYTES = 4 * 512 + 4
"""A part of one token and head: its values, and a logarithm."""


@pytest.mark.parametrize(
    ("num_programs", "num_tiles", "splits"),
    [
        (1, 20, 16),
        (1, 1, 1),
        (1, 3, 2),
        (16, 20, 8),
        (64, 20, 2),
        (65, 20, 1),
        (MOST_PROGRAMS, 20, 1),
        (4 * MOST_PROGRAMS, 20, 1),
    ],
)
def test_no_more_programs_than_cores_and_no_split_without_a_tile(num_programs, num_tiles, splits):
    """The last power of two that both allow."""
    assert splits == num_splits(num_programs, num_tiles)


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """`traced(target, make, **sizes)`: one step on fake tensors, recorded."""
    pytest.importorskip("triton", reason="needs the extra `triton`")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)

    def run(target, make, num_parts=0, **sizes):
        def built(at, device):
            step = make(at, device)
            if num_parts:
                size = num_parts * PART_BYTES // 4 * step["q"].shape[0] * step["q"].shape[1]
                step["parts"] = torch.empty(size, dtype=torch.float32, device=device)
            return torch.no_grad()(lambda: fused_decode(**step))

        return ShadowLane(tmp_path, target, target).run(built, resize(SMALL.sizes, sizes))

    return run


@pytest.mark.parametrize(
    ("target", "num_heads", "num_tokens", "splits"),
    [
        # 32 keys a tile and 16 heads a program; on Hopper a split takes nothing.
        ("rocm:gfx942", 8, 4, 16),
        ("rocm:gfx942", 8, 64, 2),
        ("rocm:gfx942", 128, 64, 1),
        ("cuda:sm_90", 8, 4, 1),
        ("cuda:sm_90", 64, 64, 1),
    ],
)
def test_a_step_takes_its_parts_and_nothing_else(traced, target, num_heads, num_tokens, splits):
    """Where it is not split, nothing at all: one kernel writes the output."""
    sizes = {"num_heads": num_heads, "num_tokens": num_tokens, "num_blocks": 4096}
    trace = traced(target, build, **sizes)
    expected = PART_BYTES * splits * num_tokens * num_heads if splits > 1 else 0
    assert expected == trace.peak().num_bytes
    kernels = ["decode_kernel", "merge_kernel"] if splits > 1 else ["decode_kernel"]
    assert kernels == [launch.kernel for launch in trace.launches]


@pytest.mark.parametrize(
    ("target", "num_parts", "merges"),
    [
        ("rocm:gfx942", 16, True),
        ("rocm:gfx942", 1, False),
        # Programs of Hopper's exchange what they have by themselves.
        ("cuda:sm_90", 8, False),
    ],
)
def test_a_step_that_is_given_its_parts_takes_nothing(traced, target, num_parts, merges):
    """It is split as far as they go: into one part is not at all."""
    trace = traced(target, build, num_parts, num_heads=8, num_tokens=4)
    assert 0 == trace.peak().num_bytes
    kernels = ["decode_kernel", "merge_kernel"] if merges else ["decode_kernel"]
    assert kernels == [launch.kernel for launch in trace.launches]


@pytest.mark.parametrize(
    "parts",
    [torch.empty(8, dtype=torch.float64), torch.empty(8, 2)[:, 0], torch.empty(8, device="meta")],
    ids=["dtype", "strided", "device"],
)
def test_parts_of_another_kind_are_refused_in_a_line(parts):
    """What was given, and what it must be."""
    step = build(SMALL.sizes, "cpu")
    with pytest.raises(UsageError, match=r"it must be torch\.float32 on cpu and contiguous, or N"):
        fused_decode(**step, parts=parts)


def test_a_layer_with_a_sliding_window_alone_is_split_by_its_own_keys(traced):
    """128 keys are four tiles of 32."""
    trace = traced("rocm:gfx942", build_swa_only, num_tokens=4)
    assert PART_BYTES * 4 * 4 * 8 == trace.peak().num_bytes
