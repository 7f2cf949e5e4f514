"""sglang's decode step: how it is called, and that its stand-in decodes what it is handed."""

from __future__ import annotations

import pytest
import torch

from oom_suite.doors import families
from oom_suite.subjects.families.sglang.decode import flash_mla, fp8_kernel
from oom_suite.subjects.families.sglang.flashmla_tests import (
    FP8KVCacheLayout,
    Record,
    dequantize_k_cache,
    lib,
    quant,
    ref,
    ref_sparse_attn_decode,
)
from oom_suite.subjects.loading import Given
from oom_suite.subjects.stubs import StubLog
from oom_suite.workloads.sparse_mla import step as decode

GIVEN = Given("gfx942", StubLog())


def released(q, k_cache, *, head_dim_v, softmax_scale, indices, topk_length, attn_sink, **more):
    """As sglang's function: each cache is converted whole, and attended to."""
    layout = FP8KVCacheLayout.MODEL1_FP8Sparse

    def scope(cache, indices, lens):
        blocks = dequantize_k_cache(cache.view(torch.float8_e4m3fn), layout)
        return Record(blocked_k=blocks, indices_in_kvcache=indices, topk_length=lens)

    extra = more.get("extra_k_cache")
    case = Record(
        q=q,
        attn_sink=attn_sink,
        sm_scale=softmax_scale,
        kv_scope=scope(k_cache, indices, topk_length),
        extra_kv_scope=None
        if extra is None
        else scope(extra, more["extra_indices_in_kvcache"], more["extra_topk_length"]),
    )
    return ref_sparse_attn_decode(Record(d_v=head_dim_v), case)


@pytest.mark.parametrize("layer_kind", ["swa_only", "c4a"])
def test_a_step_of_one_cache_or_two_has_the_answer_of_the_oracle(layer_kind):
    """Padded pages and rows that are not full included."""
    options = decode.StepOptions(layer_kind, seed=3, padded=True, lens="short")
    step = decode.random_step(options)
    flash_mla(released)(**step)
    expected = decode.oracle(step, torch.float8_e4m3fn)
    torch.testing.assert_close(expected, step["output"].to(expected.dtype), rtol=0.05, atol=0.05)


def test_the_stand_in_has_the_names_that_the_wheel_imports():
    assert {"FP8KVCacheLayout", "dequantize_k_cache"} == set(quant(GIVEN))
    assert {"ExtraTestParamForDecode", "KVScope", "TestcaseForDecode", "TestParam"} == set(
        lib(GIVEN)
    )
    assert {"ref_sparse_attn_decode"} == set(ref(GIVEN))


@pytest.mark.parametrize(("arch", "is_fnuz"), [("gfx942", True), ("gfx950", False)])
def test_the_fp8_is_that_of_the_gpu(arch, is_fnuz):
    assert is_fnuz == fp8_kernel(Given(arch, StubLog()))["is_fp8_fnuz"]()


def test_readers_of_its_results_are_told_of_the_stand_in():
    family = families()["sglang"]
    (note,) = family.notes(family.parse("sglang==0.5.23"))
    assert note.startswith("sglang.srt.flashmla_tests is not in sglang's wheel")
