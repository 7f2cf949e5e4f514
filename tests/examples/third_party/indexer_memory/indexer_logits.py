"""The arguments of vLLM's `fp8_paged_mqa_logits_torch`."""

from __future__ import annotations

import torch

HEAD_DIM = 128
SCALE_BYTES = 4


def build(sizes, device):
    """One call; the context of each request fills `max_model_len`.

    Block numbers go round the pool, so that they are valid in one of any size.
    """
    batch, next_n, num_heads = sizes["batch"], sizes["next_n"], sizes["num_heads"]
    num_blocks, block_size = sizes["num_blocks"], sizes["block_size"]
    blocks_of_each = sizes["max_model_len"] // block_size
    numbers = torch.arange(batch * blocks_of_each, dtype=torch.int32, device=device)
    return {
        "q": torch.zeros(batch, next_n, num_heads, HEAD_DIM, device=device).to(torch.float8_e4m3fn),
        "kv_cache": torch.empty(
            num_blocks, block_size, 1, HEAD_DIM + SCALE_BYTES, dtype=torch.uint8, device=device
        ),
        "weights": torch.zeros(batch * next_n, num_heads, device=device),
        "context_lens": torch.full(
            (batch,), blocks_of_each * block_size, dtype=torch.int32, device=device
        ),
        "block_tables": (numbers % num_blocks).view(batch, blocks_of_each),
        "max_model_len": sizes["max_model_len"],
    }
