"""The kernels on a GPU: what they compute, at every shape that they serve, and far into a pool."""

from __future__ import annotations

import itertools

import pytest
import torch

from oom_suite.workloads.sparse_mla.caches import paged_pool
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.kernels import decode, dispatch
from oom_suite.workloads.sparse_mla.kernels.gather import (
    _decode_slots,
    dequantize_and_gather_k_cache,
    dequantize_and_gather_k_cache_sparse,
)
from oom_suite.workloads.sparse_mla.step import StepOptions, oracle, random_step, tolerance

pytestmark = pytest.mark.oom_device

HEADS, TOKENS, LAYERS = (8, 20, 64, 128), (1, 3, 64), ("swa_only", "c4a", "c128a")
FP8 = torch.float8_e4m3fn


def step_of(layer, num_tokens, num_heads, device, **options):
    """A step at the model's own widths."""
    wanted = StepOptions(
        layer,
        num_tokens=num_tokens,
        num_heads=num_heads,
        swa_topk=128,
        extra_topk=512,
        num_blocks=512,
        block_size=64,
        padded=True,
        seed=num_tokens + num_heads,
        **options,
    )
    return random_step(wanted, device)


def assert_right(step):
    expected = oracle(step)
    error = (step["output"].cpu().double() - expected).abs()
    assert (error <= tolerance(step, expected)).all(), f"off by {error.max():.3g}"


@pytest.mark.parametrize(("layer", "num_heads"), list(itertools.product(LAYERS, HEADS)))
def test_a_decode_step_is_as_exact_as_its_rounding(layer, num_heads, oom_device):
    """At one token, a few and many, with rows of mixed lengths: in 16 parts, in some, in two."""
    for num_tokens in TOKENS:
        step = step_of(layer, num_tokens, num_heads, oom_device, lens="mixed", padding="anywhere")
        decode.fused_decode(**step)
        assert_right(step)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_portable_kernel_is_as_exact(layer, oom_device, monkeypatch):
    """Also where a fast path for this GPU would have been taken; without a sink too."""
    monkeypatch.setattr(dispatch, "_fast", [])
    for num_heads, sink in ((64, True), (20, False)):
        step = step_of(layer, 5, num_heads, oom_device, lens="zero", sink=sink)
        decode.fused_decode(**step)
        assert_right(step)


def test_a_result_is_no_further_off_than_that_of_the_bug(oom_device):
    """`full_dequant`, which computes in float32, against float64 as well."""
    from oom_suite.workloads.sparse_mla.builtins import full_dequant_decode

    step = step_of("c4a", 16, 64, oom_device)
    expected, errors = oracle(step), {}
    for name, call in (("fused", decode.fused_decode), ("bug", full_dequant_decode)):
        step["output"].fill_(torch.nan)
        call(**step)
        errors[name] = float((step["output"].cpu().double() - expected).abs().max())
    assert errors["fused"] <= errors["bug"] * 1.001, errors


@pytest.fixture(params=["this device's", "portable"])
def kernels(request, monkeypatch):
    """The kernels that a call takes."""
    if request.param == "portable":
        monkeypatch.setattr(dispatch, "_fast", [])


def random_pool(device, num_blocks=2048):
    """Random bytes in all of the cache."""
    pool = paged_pool(num_blocks, 64, FP8_DS_MLA_V4, device, padded=True)
    pool.as_strided((pool.untyped_storage().nbytes(),), (1,)).random_(0, 256)
    return pool


def untouched_rows(device, *shape):
    return torch.full((*shape, 512), 7.0, dtype=torch.bfloat16, device=device)


def assert_same(given, wanted):
    """To the bit, where it is a number."""
    numbers = wanted.isfinite()
    assert torch.equal(given[numbers].view(torch.int16), wanted[numbers].view(torch.int16))
    assert torch.equal(given.isnan(), wanted.isnan())


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("num_rows", [1, 2, 3, 4, 5, 40_000])
def test_a_gather_is_to_the_bit_what_torch_gives(oom_device, num_rows):
    """Padding between the slots, which are strided, and slots that the cache does not have."""
    pool = random_pool(oom_device)
    slots = torch.randperm(2048 * 64, device=oom_device)[: 2 * num_rows].int()[::2]
    slots[1::7], slots[2::11] = -1, 2048 * 64
    given, wanted = (untouched_rows(oom_device, num_rows + 3) for _ in range(2))
    dequantize_and_gather_k_cache_sparse(given[:num_rows], pool, slots, 64)
    has_slot = torch.where(slots < 2048 * 64, slots, -1)
    _decode_slots(wanted[:num_rows], pool, has_slot, 64, FP8)
    assert_same(given, wanted)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("gap", [0, 8, 1])
def test_a_prefix_is_to_the_bit_what_torch_gives(oom_device, gap):
    """Of requests of many lengths, behind an offset, into rows with a gap behind each."""
    pool, offset = random_pool(oom_device), 5
    lens, some = (
        torch.tensor(each, dtype=torch.int32, device=oom_device)
        for each in ([0, 1, 63, 64, 65, 777, 4096], [0, 1, 3, 64, 2, 700, 4096])
    )
    table = torch.randperm(2048, device=oom_device)[: 7 * 64].int().view(7, 64)
    given, wanted = (
        torch.full((7, 4101, 512 + gap), 7.0, dtype=torch.bfloat16, device=oom_device)[..., :512]
        for _ in range(2)
    )
    dequantize_and_gather_k_cache(given, pool, lens, some, table, 64, offset)
    for request in range(7):
        tokens = torch.arange(int(lens[request] - some[request]), int(lens[request]))
        tokens = tokens.to(oom_device)
        slots = table[request, tokens // 64] * 64 + tokens % 64
        _decode_slots(wanted[request, offset : offset + len(slots)], pool, slots, 64, FP8)
    assert_same(given, wanted)


def test_the_last_block_of_a_pool_of_six_gib_is_found(oom_device):
    """Its first byte is past what 32 bits can say."""
    num_blocks = 6 * 2**30 // FP8_DS_MLA_V4.padded_block_bytes(64)
    pool = paged_pool(num_blocks, 64, FP8_DS_MLA_V4, oom_device, padded=True)
    pool[-1].fill_(0x38)
    slots = torch.tensor([num_blocks * 64 - 1], dtype=torch.int32, device=oom_device)
    given, wanted = (torch.empty(1, 512, dtype=torch.bfloat16, device=oom_device) for _ in range(2))
    dequantize_and_gather_k_cache_sparse(given, pool, slots, 64)
    _decode_slots(wanted, pool, slots, 64, FP8)
    assert torch.equal(given, wanted)


def test_a_gather_takes_no_memory(oom_device):
    """Not a byte beside what it is given."""
    pool = paged_pool(256, 64, FP8_DS_MLA_V4, oom_device)
    slots = torch.arange(4096, dtype=torch.int32, device=oom_device)
    out = torch.empty(4096, 512, dtype=torch.bfloat16, device=oom_device)
    dequantize_and_gather_k_cache_sparse(out, pool, slots, 64)
    torch.cuda.reset_peak_memory_stats(oom_device)
    before = torch.cuda.memory_stats(oom_device)["requested_bytes.all.current"]
    dequantize_and_gather_k_cache_sparse(out, pool, slots, 64)
    assert before == torch.cuda.memory_stats(oom_device)["requested_bytes.all.peak"]


def test_a_step_that_is_not_split_is_as_exact(oom_device):
    """More tokens than there are cores: the output is written at once."""
    step = step_of("c4a", 129, 64, oom_device, lens="short")
    decode.fused_decode(**step)
    assert_right(step)
