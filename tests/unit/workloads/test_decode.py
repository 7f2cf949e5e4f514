"""The decode workload: its call at any size, its random steps, its oracle."""

from __future__ import annotations

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.caches import referenced_blocks
from oom_suite.workloads.sparse_mla.geometry import scenario
from oom_suite.workloads.sparse_mla.step import StepOptions, build, oracle, random_step, tolerance

KEYWORDS = [
    "q",
    "kv_cache",
    "swa_k_cache",
    "swa_only",
    "topk_indices",
    "topk_lens",
    "swa_indices",
    "swa_lens",
    "attn_sink",
    "scale",
    "head_dim",
    "nope_head_dim",
    "rope_head_dim",
    "output",
]


@pytest.mark.parametrize("fake", [False, True], ids=["real", "fake"])
def test_build_gives_vllms_fourteen_arguments(fake: bool) -> None:
    """The call has vLLM 0.21.0's keywords, shapes and dtypes, with and without data."""
    if fake:
        with FakeTensorMode():
            step = build(scenario("small").sizes, "cpu")
    else:
        step = build(scenario("small").sizes, "cpu")
    shapes = {k: (list(v.shape), v.dtype) for k, v in step.items() if torch.is_tensor(v)}
    assert KEYWORDS == list(step)
    assert shapes == {
        "q": ([4, 8, 512], torch.bfloat16),
        "kv_cache": ([64, 64, 584], torch.uint8),
        "swa_k_cache": ([64, 64, 584], torch.uint8),
        "topk_indices": ([4, 1, 512], torch.int32),
        "topk_lens": ([4], torch.int32),
        "swa_indices": ([4, 128], torch.int32),
        "swa_lens": ([4], torch.int32),
        "attn_sink": ([8], torch.float32),
        "output": ([4, 8, 512], torch.bfloat16),
    }
    assert step["kv_cache"].is_contiguous()
    assert (False, 512, 448, 64) == (
        step["swa_only"],
        step["head_dim"],
        step["nope_head_dim"],
        step["rope_head_dim"],
    )


def test_build_names_exactly_the_referenced_blocks_of_each_pool() -> None:
    """Both index tensors name the scenario's number of distinct blocks."""
    sizes = scenario("small").sizes
    step = build(sizes, "cpu")
    swa = referenced_blocks(step["swa_indices"], step["swa_lens"], 64)
    extra = referenced_blocks(step["topk_indices"].squeeze(1), step["topk_lens"], 64)
    assert (16, 16) == (len(swa), len(extra))


def test_random_steps_take_the_same_keywords() -> None:
    """A random step is called like a built one."""
    assert KEYWORDS == list(random_step(StepOptions()))


def test_layer_kinds_decide_the_compressed_pool() -> None:
    """SWA-only has none, ratio 4 has the step's blocks, ratio 128 has blocks of 2."""
    sizes = {
        kind: random_step(StepOptions(kind))["kv_cache"] for kind in ("swa_only", "c4a", "c128a")
    }
    assert sizes["swa_only"] is None
    assert (8, 2) == (sizes["c4a"].shape[1], sizes["c128a"].shape[1])


def test_unreferenced_blocks_are_poison() -> None:
    """Blocks that no index names hold nothing but 0xFF."""
    step = random_step(StepOptions(padded=True))
    named = referenced_blocks(step["swa_indices"], step["swa_lens"], 8)
    others = torch.ones(32, dtype=torch.bool)
    others[named] = False
    assert others.any()
    assert (step["swa_k_cache"][others] == 0xFF).all()


def test_an_unknown_layer_kind_names_the_nearest() -> None:
    """A misspelled layer kind is answered with the one that was meant."""
    with pytest.raises(UsageError, match="did you mean 'c128a'"):
        random_step(StepOptions("c128"))


def test_oracle_with_one_key_gives_that_key_and_the_sinks_share() -> None:
    """One key has weight 1; a sink of equal logit takes half of it."""
    step = random_step(StepOptions("swa_only", num_tokens=1, swa_topk=1, num_heads=2))
    step["attn_sink"] = None
    alone = oracle(step)
    key = alone[0, 0]
    step["q"] = torch.zeros_like(step["q"])
    step["attn_sink"] = torch.tensor([0.0, -math.inf])
    shared = oracle(step)
    torch.testing.assert_close(shared[0, 0], key / 2)
    torch.testing.assert_close(shared[0, 1], key)


def test_tolerance_stays_near_bf16s_rounding() -> None:
    """The allowed error is bf16's rounding and little more: under 2**-8 plus 0.02 in all."""
    step = random_step(StepOptions(num_heads=64))
    answer = oracle(step)
    allowed = tolerance(step, answer)
    assert (allowed >= answer.abs() * 2.0**-8).all()
    assert (allowed <= answer.abs() * 2.0**-8 + 0.02).all()
