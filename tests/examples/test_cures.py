"""The cures of docs/findings give the answers of vLLM's released code; nightly, they pass."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from examples import cures

from oom_suite.doors import workload
from oom_suite.subjects import load, parse
from oom_suite.subjects.families.vllm.cpu_attention import TorchWithKernel
from oom_suite.workloads.cpu_attention.step import build

pytestmark = pytest.mark.oom_registry

BLOCK_SIZE, NUM_BLOCKS, NUM_HEADS, HEAD_DIM = 8, 12, 4, 128


def released(name):
    return load(parse("vllm==0.33.0"), workload(name))


def random_fp8(*shape):
    return torch.randn(shape).to(torch.float8_e4m3fn)


@pytest.mark.parametrize("next_n", [1, 2])
def test_the_logits_of_a_decode_step_are_those_of_vllm(next_n):
    """Contexts end within a block; with one token vLLM reads scales behind a block's values."""
    torch.manual_seed(next_n)
    values = random_fp8(NUM_BLOCKS, BLOCK_SIZE, HEAD_DIM).view(torch.uint8)
    scales = torch.rand(NUM_BLOCKS, BLOCK_SIZE, 1)
    beside = torch.cat([values, scales.view(torch.uint8)], dim=2)
    apart = torch.cat([values.flatten(1), scales.flatten(1).view(torch.uint8)], dim=1)
    given = {
        "q": random_fp8(2, next_n, NUM_HEADS, HEAD_DIM),
        "weights": torch.rand(2 * next_n, NUM_HEADS),
        "context_lens": torch.tensor([21, 5], dtype=torch.int32),
        "block_tables": torch.tensor([[3, 9, 1], [7, 0, 0]], dtype=torch.int32),
        "max_model_len": 32,
    }
    cache = beside if next_n > 1 else apart.view(beside.shape)
    with released("indexer-logits") as vllm:
        expected = vllm.call(**given, kv_cache=cache.unsqueeze(2))
    found = cures.paged_logits(**given, kv_cache=beside.unsqueeze(2))
    torch.testing.assert_close(expected, found, rtol=1e-4, atol=1e-3)


def test_the_logits_of_a_chunk_are_those_of_vllm():
    """Each token sees keys from one on and up to another."""
    torch.manual_seed(0)
    given = {
        "q": random_fp8(6, NUM_HEADS, HEAD_DIM),
        "kv": (random_fp8(20, HEAD_DIM), torch.rand(20)),
        "weights": torch.rand(6, NUM_HEADS),
        "cu_seqlen_ks": torch.tensor([0, 0, 0, 2, 2, 2], dtype=torch.int32),
        "cu_seqlen_ke": torch.tensor([15, 16, 17, 18, 19, 20], dtype=torch.int32),
    }
    with released("indexer-prefill") as vllm:
        expected = vllm.call(**given)
    found = cures.prefill_logits(**given)
    torch.testing.assert_close(expected, found, rtol=2e-2, atol=0.5)


def test_the_window_is_that_of_transformers_whose_layers_keep_the_whole_prompt():
    """64 bytes a token of two heads: the layer's keys are 7 tokens of a tensor of 40."""
    torch.manual_seed(0)
    states = {"key_states": torch.randn(1, 2, 40, 8), "value_states": torch.randn(1, 2, 40, 8)}
    numbers = {"num_layers": 2, "window": 8, "max_len": 64}
    with load(parse("transformers==5.24.0"), workload("sliding-cache")) as transformers:
        theirs, *_ = transformers.call(**states, **numbers)[1]
    ours = cures.sliding_caches(**states, **numbers)[1]
    assert torch.equal(theirs.keys, ours.keys)
    assert torch.equal(theirs.values, ours.values)
    found = [one.keys.untyped_storage().nbytes() for one in (theirs, ours)]
    assert [40 * 64, 7 * 64] == found


def test_the_slots_of_attention_on_a_cpu_are_those_of_vllm_in_narrower_rows(monkeypatch):
    """What vLLM has beyond the context's pages is padding."""
    seen = []
    kernel = SimpleNamespace(flash_mla_with_kvcache_cpu=lambda *given: seen.append(given[6]))
    monkeypatch.setattr(TorchWithKernel, "ops", SimpleNamespace(_C=kernel))
    known = workload("cpu-attention")
    inputs = build(known.scenario("small").sizes, "cpu")
    inputs["block_table"] = torch.tensor([[5, 2, 7, 1]], dtype=torch.int32)
    with load(parse("vllm==0.33.0"), known) as vllm:
        vllm.call(**inputs)
    ours = cures.cpu_slots(**inputs)
    width = ours.shape[1]
    assert (8, 32) == (width, seen[0].shape[1])
    assert torch.equal(ours, seen[0][:, :width])
    assert (seen[0][:, width:] == -1).all()
