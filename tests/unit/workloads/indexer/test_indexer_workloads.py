"""The indexer's workloads: what they promise, and that the promise tells good code from bad."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.indexer import step

SMALL = workload("indexer-logits").scenario("small").sizes
CHUNK = workload("indexer-prefill").scenario("small").sizes


def peak_bytes(build, call, sizes):
    """Peak requested bytes of a call with inputs of these sizes."""

    def made(sizes, device):
        inputs = build(sizes, device)
        return lambda: call(**inputs)

    return ShadowLane(Path(__file__).parent).run(made, sizes).peak().num_bytes


def converts_the_pool(q, kv_cache, weights, context_lens, block_tables, max_model_len):
    return q.float(), kv_cache[..., :128].view(torch.float8_e4m3fn).float()


def reads_its_blocks(q, kv_cache, weights, context_lens, block_tables, max_model_len):
    keys = kv_cache[block_tables.flatten()][..., :128].view(torch.float8_e4m3fn).float()
    return keys, torch.empty(weights.shape[0], max_model_len, device=q.device)


def keeps_every_head(q, kv, weights, cu_seqlen_ks, cu_seqlen_ke):
    return torch.einsum("mhd,nd->hmn", q.float(), kv[0].float())


def sums_head_by_head(q, kv, weights, cu_seqlen_ks, cu_seqlen_ke):
    keys = kv[0].float()
    logits = torch.zeros(q.shape[0], keys.shape[0], device=q.device)
    for head in range(q.shape[1]):
        logits += (q[:, head].float() @ keys.T).relu() * weights[:, head, None]
    return logits


@pytest.mark.parametrize(
    ("call", "grown"), [(converts_the_pool, 64 * 64 * 512), (reads_its_blocks, 0)]
)
def test_the_pool_is_seen_where_it_is_converted(call, grown):
    """64 more blocks of 64 keys: 512 bytes a key where all are converted, else none."""
    larger = SMALL | {"num_blocks": SMALL["num_blocks"] + 64}
    peaks = [peak_bytes(step.build_decode, call, sizes) for sizes in (SMALL, larger)]
    assert grown == peaks[1] - peaks[0]


@pytest.mark.parametrize(("call", "fits"), [(keeps_every_head, False), (sums_head_by_head, True)])
def test_the_bound_of_a_chunk_has_no_room_for_a_score_of_every_head(call, fits):
    """8,192 tokens against 16,384 keys, 64 heads."""
    sizes = {"num_tokens": 8192, "context_len": 16_384, "num_heads": 64}
    bound = workload("indexer-prefill").contract.at_most
    assert fits == (peak_bytes(step.build_prefill, call, sizes) <= bound(sizes))


@pytest.mark.parametrize("name", ["indexer-logits", "indexer-logits-rocm"])
def test_the_longest_context_is_allowed_for_the_logits_alone_and_by_design(name):
    """Twice the float32 logits fit in the bound, and three times do not."""
    known = workload(name)
    assert {"max_model_len"} == set(known.by_design)
    sizes = SMALL | {"max_model_len": 1 << 30}
    logits = 4 * sizes["batch"] * sizes["next_n"] * sizes["max_model_len"]
    assert 2 * logits <= known.contract.at_most(sizes) < 3 * logits


def test_contexts_are_whole_blocks_and_no_longer_than_the_longest():
    known = workload("indexer-logits")
    settled = known.settle(SMALL | {"max_model_len": 300, "context_len": 290})
    assert (256, 256) == (settled["max_model_len"], settled["context_len"])
    settled = known.settle(SMALL | {"max_model_len": 3, "context_len": 1})
    assert (64, 64) == (settled["max_model_len"], settled["context_len"])


def test_the_inputs_of_a_step_have_the_shapes_of_vllm():
    """Block numbers are valid in a pool smaller than what the tables name."""
    inputs = step.build_decode(SMALL | {"num_blocks": 4}, "cpu")
    shapes = {name: tuple(one.shape) for name, one in inputs.items() if name != "max_model_len"}
    assert {
        "q": (4, 2, 64, 128),
        "kv_cache": (4, 64, 1, 132),
        "weights": (8, 64),
        "context_lens": (4,),
        "block_tables": (4, 8),
    } == shapes
    assert 3 == inputs["block_tables"].max()


def test_the_inputs_of_a_chunk_have_the_shapes_of_vllm():
    inputs = step.build_prefill(CHUNK, "cpu")
    keys, scales = inputs.pop("kv")
    assert ((64, 128), (64,)) == (tuple(keys.shape), tuple(scales.shape))
    assert {
        "q": (16, 16, 128),
        "weights": (16, 16),
        "cu_seqlen_ks": (16,),
        "cu_seqlen_ke": (16,),
    } == {name: tuple(one.shape) for name, one in inputs.items()}
