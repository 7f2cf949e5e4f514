"""The arguments of sglang's `torch_qsa_mqa_decode`."""

from __future__ import annotations

import functools

import torch

from oom_suite.workloads.variants import Variant, Variants

HEAD_DIM = 128
CONTEXTS = (300, 65, 1)
"""Tokens of each request of a small step: several pages, one page and a token, one token."""


def build(sizes, device):
    """One call; every page of each request is full."""
    batch, pages = sizes["batch"], sizes["pages"]
    num_blocks, block_size = sizes["num_blocks"], sizes["block_size"]
    numbers = torch.arange(batch * pages, dtype=torch.int32, device=device)
    half = {"dtype": torch.bfloat16, "device": device}
    return {
        "q": torch.zeros(batch, sizes["num_heads"], HEAD_DIM, **half),
        "k_cache": torch.empty(num_blocks, block_size, 1, HEAD_DIM, **half),
        "page_table": (numbers % num_blocks).view(batch, pages),
        "context_lens": torch.full((batch,), pages * block_size, dtype=torch.int32, device=device),
        "max_model_len": pages * block_size,
    }


class QsaVariants(Variants):
    """One small step, with random contents in every block."""

    def plain(self, workload, device, arch):
        return [Variant("three requests", functools.partial(step, device))]


VARIANTS = QsaVariants()


def step(device):
    """Three requests over some of a pool's blocks, in no order."""
    generator = torch.Generator().manual_seed(1)
    pages = -(-max(CONTEXTS) // 64)
    blocks = torch.randperm(24, generator=generator)[: len(CONTEXTS) * pages]

    def random(*shape):
        return torch.randn(shape, generator=generator).to(device, torch.bfloat16)

    return {
        "q": random(len(CONTEXTS), 4, HEAD_DIM),
        "k_cache": random(24, 64, 1, HEAD_DIM),
        "page_table": blocks.view(len(CONTEXTS), pages).to(device, torch.int32),
        "context_lens": torch.tensor(CONTEXTS, dtype=torch.int32, device=device),
        "max_model_len": pages * 64,
    }
