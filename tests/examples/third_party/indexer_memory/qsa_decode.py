"""The arguments of sglang's `torch_qsa_mqa_decode`."""

from __future__ import annotations

import torch

HEAD_DIM = 128


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
