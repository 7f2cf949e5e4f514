"""What the union replaces: every request's whole prefix as rows, whatever of it is named.

The rows of a chunk are ``num_requests * (max_compressed_len + max_gather_len)``, 1 KiB each, so
that they grow with the prefix: at 1,048,576 tokens 256 MiB a request.

Source: written from what vLLM 0.33.0 does in `models/deepseek_v4/nvidia/flashmla.py:310-375` and
`models/deepseek_v4/amd/rocm.py:1646-1728`. (With aiter's sparse MLA, AMD's prefill reads the
caches in place, :1730.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.kernels.chunk import Chunk, Rows
from oom_suite.workloads.sparse_mla.kernels.gather import dequantize_and_gather_k_cache
from oom_suite.workloads.sparse_mla.kernels.prefill import combined

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.kernels.chunk import Attend


def dense_staging(
    k_cache: torch.Tensor,
    swa_k_cache: torch.Tensor,
    topk_indices: torch.Tensor,
    query_start_loc: torch.Tensor,
    compressed_lens: torch.Tensor,
    seq_lens: torch.Tensor,
    gather_lens: torch.Tensor,
    block_table: torch.Tensor,
    swa_block_table: torch.Tensor,
    window_size: int,
    compress_ratio: int,
    max_compressed_len: int,
    max_gather_len: int,
    max_union: int,
    attend: Attend,
    output: torch.Tensor,
) -> None:
    """Call ``attend(kv, indices, lens, output)`` with the rows of all that the requests have.

    The arguments are those of `oom_suite.workloads.sparse_mla.kernels.prefill.union_staging`.

    Raises:
        UsageError: an argument of another dtype or shape, or a GPU without Triton.
    """
    del max_union
    chunk = Chunk(
        k_cache, swa_k_cache, topk_indices, query_start_loc, compressed_lens, seq_lens,
        gather_lens, block_table, swa_block_table, window_size, compress_ratio,
        max_compressed_len, max_gather_len,
    )  # fmt: skip
    num_rows = max_compressed_len + max_gather_len
    head_dim = FP8_DS_MLA_V4.head_dim
    kv = torch.empty(
        (chunk.num_requests, num_rows, head_dim), dtype=torch.bfloat16, device=k_cache.device
    )
    block_size, swa_block_size = k_cache.shape[1], swa_k_cache.shape[1]
    dequantize_and_gather_k_cache(kv, k_cache, compressed_lens, None, block_table, block_size, 0)
    dequantize_and_gather_k_cache(
        kv, swa_k_cache, seq_lens, gather_lens, swa_block_table, swa_block_size, max_compressed_len
    )
    indices, lens = combined(chunk, Rows(of_request=num_rows, first_swa=max_compressed_len))
    attend(kv.view(-1, head_dim), indices, lens, output)
