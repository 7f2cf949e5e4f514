"""The arguments of sglang's `flash_mla_with_kvcache_torch`, and a name that its file imports."""

from __future__ import annotations

import torch

HEAD_DIM = 512
TOKEN_BYTES = 584
PAGE_ALIGN = 576


def build(sizes, device):
    """One decode step of layers with one cache."""
    batch, num_heads, topk = sizes["batch"], sizes["num_heads"], sizes["topk"]
    num_blocks, block_size = sizes["num_blocks"], sizes["block_size"]
    slots = torch.arange(batch * topk, dtype=torch.int32, device=device)
    return {
        "q": torch.zeros(batch, 1, num_heads, HEAD_DIM, dtype=torch.bfloat16, device=device),
        "k_cache": cache(num_blocks, block_size, device),
        "block_table": None,
        "cache_seqlens": None,
        "head_dim_v": HEAD_DIM,
        "tile_scheduler_metadata": None,
        "softmax_scale": HEAD_DIM**-0.5,
        "is_fp8_kvcache": True,
        "indices": (slots % (num_blocks * block_size)).view(batch, 1, topk),
        "topk_length": torch.full((batch,), topk, dtype=torch.int32, device=device),
        "attn_sink": torch.zeros(num_heads, device=device),
    }


def cache(num_blocks, block_size, device):
    """Blocks of 584 bytes a token, the start of each aligned to 576 bytes."""
    used = block_size * TOKEN_BYTES
    stride = -(-used // PAGE_ALIGN) * PAGE_ALIGN
    pool = torch.empty(num_blocks, stride, dtype=torch.uint8, device=device)
    return pool[:, :used].view(num_blocks, block_size, 1, TOKEN_BYTES)


def fp8_kernel(given):
    """The one name that the file reads of `sglang.kernels.ops.quantization.fp8_kernel`."""
    return {"is_fp8_fnuz": lambda: given.arch == "gfx942"}
