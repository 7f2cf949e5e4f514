"""What stands in for the kernels of vLLM's sampling, and how its log-probabilities are called."""

from __future__ import annotations

from types import ModuleType

import torch

from oom_suite.subjects.families.vllm.platform import Platform
from oom_suite.subjects.families.vllm.sampling import (
    custom_ops,
    logprobs,
    of_logits,
    outputs,
    sync_debug,
)
from oom_suite.subjects.loading import Given
from oom_suite.subjects.stubs import StubLog

GIVEN = Given("generic", StubLog())

SOURCE = """
class Sampler:
    @staticmethod
    def compute_logprobs(logits):
        return logits.float().log_softmax(dim=-1)

    @staticmethod
    def gather_logprobs(logprobs, num_logprobs, token_ids):
        return logprobs.dtype, num_logprobs, token_ids
"""


def test_log_probabilities_are_made_of_logits_and_gathered():
    module = ModuleType("toyllm.sampler")
    exec(SOURCE, module.__dict__)
    call = of_logits(module.Sampler.gather_logprobs)
    logits, token_ids = torch.zeros(2, 8, dtype=torch.bfloat16), torch.zeros(2)
    expected = (torch.float32, 5, token_ids)
    assert expected == call(logits=logits, num_logprobs=5, token_ids=token_ids)


def test_kernels_take_their_result_alone_or_nothing():
    """Ranks are int64, one a row; penalties are applied in place."""
    ranks = logprobs(GIVEN)["batched_count_greater_than"](torch.zeros(3, 8), torch.zeros(3, 1))
    assert ((3,), torch.int64) == (tuple(ranks.shape), ranks.dtype)
    logits = torch.ones(2, 8)
    assert custom_ops(GIVEN)["apply_repetition_penalties"](logits, None, None, None) is None
    assert torch.equal(torch.ones(2, 8), logits)


def test_the_record_is_a_tuple_and_a_class_that_annotations_can_name():
    made = outputs(GIVEN)["LogprobsTensors"]
    one, other = torch.zeros(1), torch.ones(1)
    assert (one, other) == made(one, other)
    assert isinstance(made | None, object)
    with sync_debug(GIVEN)["gpu_sync_allowed"](first_only=True):
        pass


def test_the_platform_names_the_compiler_of_small_functions():
    """Files that decorate with it at their top can be loaded."""
    assert "inductor" == Platform(GIVEN).simple_compile_backend
