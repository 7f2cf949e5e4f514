"""Sampling's workloads: eight float32 for a logit fit, and a copy for each token does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.sampling import step


def peak_bytes(build, call, sizes):
    """Peak requested bytes of a call with inputs of these sizes."""

    def made(sizes, device):
        inputs = build(sizes, device)
        return lambda: call(**inputs)

    return ShadowLane(Path(__file__).parent).run(made, sizes).peak().num_bytes


def counts(logits, prompt_tokens_tensor, output_tokens_tensor, **penalties):
    empty = torch.zeros(logits.shape, dtype=torch.int64, device=logits.device)
    return empty.scatter_add(1, prompt_tokens_tensor, torch.ones_like(prompt_tokens_tensor))


def one_hot(logits, prompt_tokens_tensor, output_tokens_tensor, **penalties):
    places = torch.arange(logits.shape[1], device=logits.device)
    return (prompt_tokens_tensor[..., None] == places).sum(1)


@pytest.mark.parametrize(("call", "fits"), [(counts, True), (one_hot, False)])
def test_tokens_that_are_counted_one_by_one_exceed_the_bound(call, fits):
    known = workload("penalties")
    sizes = known.scenario("server").sizes
    bound = known.contract.at_most(sizes)
    assert fits == (peak_bytes(step.build_penalties, call, sizes) <= bound)


@pytest.mark.parametrize(
    ("name", "build", "shapes"),
    [
        ("top-k-top-p", step.build_top_k_top_p, {"logits": (8, 4096), "k": (8,), "p": (8,)}),
        ("logprobs", step.build_logprobs, {"logits": (8, 4096), "token_ids": (8,)}),
        (
            "penalties",
            step.build_penalties,
            {
                "logits": (8, 4096),
                "prompt_tokens_tensor": (8, 64),
                "output_tokens_tensor": (8, 64),
                "presence_penalties": (8,),
                "frequency_penalties": (8,),
                "repetition_penalties": (8,),
            },
        ),
    ],
)
def test_the_inputs_have_the_shapes_of_vllm(name, build, shapes):
    inputs = build(workload(name).scenario("small").sizes, "cpu")
    tensors = {key: one for key, one in inputs.items() if isinstance(one, torch.Tensor)}
    assert shapes == {key: tuple(one.shape) for key, one in tensors.items()}
    assert set(inputs) == set(workload(name).convention.keywords)
