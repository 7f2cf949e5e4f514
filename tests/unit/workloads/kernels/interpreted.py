"""Run by `test_interpreted.py` in a process of its own: Triton's kernels in its interpreter."""

from __future__ import annotations

import functools
import os
import sys

import torch

from oom_suite.safety.triton_interpreter import interpret_triton
from oom_suite.workloads.sparse_mla.caches import paged_pool, write_blocks
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.kernels.decode import fused_decode
from oom_suite.workloads.sparse_mla.kernels.gather import (
    dequantize_and_gather_k_cache,
    dequantize_and_gather_k_cache_sparse,
)
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging
from oom_suite.workloads.sparse_mla.prefill.step import ChunkOptions, distinct, small
from oom_suite.workloads.sparse_mla.step import StepOptions, oracle, random_step, tolerance

BLOCK_SIZE, NUM_BLOCKS = 8, 16
NUM_SLOTS = BLOCK_SIZE * NUM_BLOCKS


def without_triton(call, *arguments, **keywords):
    """The same in torch."""
    os.environ["TRITON_INTERPRET"] = "0"
    try:
        call(*arguments, **keywords)
    finally:
        os.environ["TRITON_INTERPRET"] = "1"


def cache_of(fp8, generator):
    pool = paged_pool(NUM_BLOCKS, BLOCK_SIZE, FP8_DS_MLA_V4, "cpu", padded=True)
    keys = torch.randn(NUM_BLOCKS, BLOCK_SIZE, 512, generator=generator) * 30
    write_blocks(pool, torch.arange(NUM_BLOCKS), keys, FP8_DS_MLA_V4, fp8)
    # Scales of every kind: the smallest, the largest, and that which is NaN.
    scales = pool.as_strided((3,), (1,), BLOCK_SIZE * 576)
    scales.copy_(torch.tensor([0, 254, 255], dtype=torch.uint8))
    return pool


def pair(*shape):
    return [torch.full((*shape, 512), 7.0, dtype=torch.bfloat16) for _ in range(2)]


def same(triton, reference):
    assert torch.equal(triton.view(torch.int16), reference.view(torch.int16))


def gathers():
    """Bits of random batches with padding and slots that there are not between."""
    for seed, fp8 in enumerate((torch.float8_e4m3fn, torch.float8_e4m3fnuz)):
        generator = torch.Generator().manual_seed(seed)
        pool = cache_of(fp8, generator)
        slots = torch.randint(-1, NUM_SLOTS, (37,), generator=generator).int()
        slots[::5] = -1
        triton, reference = pair(37)
        dequantize_and_gather_k_cache_sparse(triton, pool, slots, BLOCK_SIZE, fp8)
        arguments = (reference, pool, slots, BLOCK_SIZE, fp8)
        without_triton(dequantize_and_gather_k_cache_sparse, *arguments)
        same(triton, reference)

        slots[3] = NUM_SLOTS
        triton.fill_(7.0)
        dequantize_and_gather_k_cache_sparse(triton, pool, slots, BLOCK_SIZE, fp8)
        assert (triton[3] == 7.0).all()

        # By columns, as a slice of a server's own table may be.
        table = torch.randint(0, NUM_BLOCKS, (8, 3), generator=generator).int()[::2].T
        lens = torch.tensor([30, 9, 0], dtype=torch.int32)
        for wanted in (None, torch.tensor([17, 9, 0], dtype=torch.int32)):
            triton, reference = pair(3, 33)
            arguments = (pool, lens, wanted, table, BLOCK_SIZE, 2, fp8)
            dequantize_and_gather_k_cache(triton, *arguments)
            without_triton(dequantize_and_gather_k_cache, reference, *arguments)
            same(triton, reference)


def decodes():
    """Every kind of layer, with and without a split, against float64."""
    for options in (
        StepOptions("c4a", lens="mixed", padding="anywhere", padded=True, swa_topk=40, seed=1),
        StepOptions("c128a", "one_token_per_block", lens="short", sink=False, seed=2),
        StepOptions("swa_only", "shared_prefix", lens="zero", num_heads=5, seed=3),
        StepOptions("c4a", num_tokens=1, num_heads=20, swa_topk=70, extra_topk=90, seed=4),
    ):
        step = random_step(options)
        expected = oracle(step)
        # As many parts as it takes itself, or those of a caller, which hold two of a step.
        given = torch.full((2 * 513 * step["q"][..., 0].numel(),), torch.nan)
        fused_decode(**step, parts=given if options.seed % 2 else None)
        error = (step["output"].double() - expected).abs()
        assert (error <= tolerance(step, expected)).all(), (options, error.max())


def rows_of(options, call):
    """What a chunk's attention is given, and how many distinct entries there are."""
    found, num_union = [], torch.full((1,), -1, dtype=torch.int32)
    step = small(options) | {"attend": lambda *given: found.append(given[:3])}
    call(**step, num_union=num_union)
    assert len(distinct(step)) == int(num_union)
    return found[0]


def prefills():
    """Bits of random chunks, whose flags are more words than one program ranks."""
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        lens, queries = ((9_000, 7, 8_203), (4, 1, 3)) if seed else ((90,), (7,))
        most = max(lens) // 4
        named = torch.randint(-2, most + 2, (97,), generator=generator).tolist()
        options = ChunkOptions(
            lens, queries, topk=37, named=tuple(named), spare_rows=2 - 5 * seed, window=20,
            num_blocks=432, block_size=64, first_start=seed, seed=seed,
        )  # fmt: skip
        triton, *rest = rows_of(options, union_staging)
        reference, *others = rows_of(options, functools.partial(without_triton, union_staging))
        assert all(map(torch.equal, rest, others))
        rows = rest[0][rest[0] >= 0].unique().long()
        same(triton[rows], reference[rows])


assert interpret_triton()
for check in (gathers, decodes, prefills):
    check()
    sys.stdout.write(f"{check.__name__}\n")
