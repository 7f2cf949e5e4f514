"""How a step is handed to the package `flash_mla`, in whose place a stand-in plans and looks."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from oom_suite.pipeline.bench.timing import FlashMla
from oom_suite.workloads.sparse_mla.step import StepOptions, random_step

PLANNED = ("indices", "topk_length", "extra_indices_in_kvcache", "extra_topk_length")


class Package:
    """Takes a plan for the shapes and lengths alone that it was made for first."""

    def __init__(self):
        self.plans = 0

    def get_mla_metadata(self):
        self.plans += 1
        return {}, None

    def flash_mla_with_kvcache(self, q, k_cache, table, lens, width, plan, **rest):
        assert (table, lens, rest["is_fp8_kvcache"]) == (None, None, True)
        assert (1, 1, 584) == (q.shape[1], *k_cache.shape[2:])
        extra = rest["extra_k_cache"]
        assert extra is None or (1, 584) == extra.shape[2:]
        given = {
            name: one if one is None else one.clone()
            for name, one in rest.items()
            if name in PLANNED
        }
        known = plan.setdefault("given", given)
        for name, one in given.items():
            assert (one is None) is (known[name] is None)
            assert one is None or torch.equal(one, known[name]), f"{name} is not what was planned"
        return q[..., :width] * rest["softmax_scale"], None


@pytest.fixture
def package(monkeypatch):
    """In place of the installed one."""
    found = Package()
    names = ("get_mla_metadata", "flash_mla_with_kvcache")
    module = SimpleNamespace(**{name: getattr(found, name) for name in names})
    monkeypatch.setitem(sys.modules, "flash_mla", module)
    return found


def step_of(layer, num_tokens, seed=0):
    return random_step(StepOptions(layer, num_tokens=num_tokens, seed=seed), "cpu")


def test_a_step_is_planned_once(package):
    """And its result has a row of heads for each token."""
    call, step = FlashMla(), step_of("c4a", 3)
    for _ in range(3):
        assert step["output"].shape == call(**step).shape
    assert 1 == package.plans


@pytest.mark.parametrize(("layer", "num_tokens"), [("c4a", 3), ("swa_only", 3), ("c4a", 2)])
def test_a_step_in_the_memory_of_one_that_is_gone_is_planned_anew(package, layer, num_tokens):
    """Another layer, other entries and other tokens: on a GPU the next shape's lie there."""
    call, memory = FlashMla(), torch.empty(1 << 16, dtype=torch.bfloat16)
    for seed, case in enumerate((("c4a", 3), (layer, num_tokens))):
        step = step_of(*case, seed=seed)
        output = step["output"]
        call(**{**step, "output": memory[: output.numel()].view(output.shape)})
    assert 2 == package.plans
