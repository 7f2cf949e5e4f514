"""Tokens of a paged cache, decoded into rows of bf16: by slots, or a prefix by a block table.

Both write into ``out`` and request no memory on a GPU. A slot is ``block * block_size + offset``.

Source: the calls are those of vLLM #42504 (sparse) and of vLLM 0.33.0
``dequantize_and_gather_k_cache`` (dense); a token's bytes are those of
`oom_suite.workloads.sparse_mla.geometry.layouts.FP8_DS_MLA_V4`.
"""

from __future__ import annotations

from typing import Any

import torch

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.kernels import arguments, hopper
from oom_suite.workloads.sparse_mla.kernels.dispatch import (
    register_fast_path,
    run_fast,
    takes_triton,
)

_ROWS, _WARPS = 8, 4
"""Rows of a program and its warps: the fastest of 14 pairs at 262,144 rows on an H200."""

FP8 = (torch.float8_e4m3fn, torch.float8_e4m3fnuz)

register_fast_path(hopper.GATHER_SPARSE)
register_fast_path(hopper.GATHER_DENSE)


def dequantize_and_gather_k_cache_sparse(
    out: torch.Tensor,
    k_cache: torch.Tensor,
    slot_indices: torch.Tensor,
    block_size: int,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
) -> None:
    """Write the token of ``slot_indices[i]`` to ``out[i]``.

    Args:
        out: bfloat16 [num_slots, 512], written; contiguous in its last dimension.
        k_cache: uint8 [num_blocks, block_size, 584]; strided in dimension 0 at most, by any stride.
        slot_indices: int32 [num_slots]; the rows of -1, and of a slot that the cache does not
            have, are neither loaded nor stored.
        block_size: tokens of a block.
        fp8_dtype: which fp8 the cache holds.

    Raises:
        UsageError: an argument of another dtype or shape, or a GPU without Triton.
    """
    _check(out, k_cache, block_size, fp8_dtype)
    if slot_indices.dtype != torch.int32 or slot_indices.shape != out.shape[:1]:
        raise UsageError(
            f"slot_indices is {slot_indices.dtype} {list(slot_indices.shape)}: "
            f"it must be torch.int32 {list(out.shape[:1])}, a slot for each row of out"
        )
    call: dict[str, Any] = {
        "out": out,
        "k_cache": k_cache,
        "slot_indices": slot_indices,
        "block_size": block_size,
        "fp8_dtype": fp8_dtype,
    }
    if slot_indices.shape[0] == 0 or run_fast("gather_sparse", **call):
        return
    if not takes_triton(out):
        _decode_slots(out, k_cache, slot_indices, block_size, fp8_dtype)
        return
    from oom_suite.workloads.sparse_mla.kernels.on_triton.gather import gather_sparse_kernel

    gather_sparse_kernel[(-(-slot_indices.shape[0] // _ROWS),)](
        *arguments.of_slots(out, k_cache, slot_indices),
        BLOCK_SIZE=block_size,
        ROWS=_ROWS,
        IS_FNUZ=fp8_dtype == torch.float8_e4m3fnuz,
        num_warps=_WARPS,
    )


def dequantize_and_gather_k_cache(
    out: torch.Tensor,
    k_cache: torch.Tensor,
    seq_lens: torch.Tensor,
    gather_lens: torch.Tensor | None,
    block_table: torch.Tensor,
    block_size: int,
    offset: int,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
) -> None:
    """Write the last tokens of each request's prefix to ``out[request, offset:]``, in order.

    Args:
        out: bfloat16 [num_requests, num_rows, 512], written; contiguous in its last dimension.
        k_cache: as above.
        seq_lens: int32 [num_requests], tokens that a request has in the cache.
        gather_lens: int32 [num_requests], how many of its last ones are wanted; None for all.
        block_table: int32 [num_requests, num_blocks_of_a_request], the cache's block for each
            block of the request; strided in any way.
        block_size: tokens of a block.
        offset: the row at which a request's first token goes. No request may want more tokens
            than there are rows from there on.
        fp8_dtype: which fp8 the cache holds.

    Raises:
        UsageError: as above.
    """
    _check(out, k_cache, block_size, fp8_dtype)
    if not 0 <= offset <= out.shape[1]:
        raise UsageError(f"offset is {offset}: it must be from 0 to {out.shape[1]}, out's rows")
    call: dict[str, Any] = {
        "out": out,
        "k_cache": k_cache,
        "seq_lens": seq_lens,
        "gather_lens": gather_lens,
        "block_table": block_table,
        "block_size": block_size,
        "offset": offset,
        "fp8_dtype": fp8_dtype,
    }
    num_requests, num_rows = out.shape[0], out.shape[1] - offset
    if num_requests == 0 or num_rows == 0 or run_fast("gather_dense", **call):
        return
    if not takes_triton(out):
        wanted = seq_lens if gather_lens is None else gather_lens
        row = torch.arange(num_rows, device=out.device)
        counts = row < wanted.unsqueeze(1)
        token = ((seq_lens - wanted).unsqueeze(1) + row) * counts
        block = block_table.gather(1, (token // block_size).to(torch.int64))
        slots = torch.where(counts, block * block_size + token % block_size, -1)
        _decode_slots(out[:, offset:], k_cache, slots, block_size, fp8_dtype)
        return
    from oom_suite.workloads.sparse_mla.kernels.on_triton.gather import gather_dense_kernel

    gather_dense_kernel[(-(-num_rows // _ROWS), num_requests)](
        *arguments.of_prefixes(out, k_cache, seq_lens, gather_lens, block_table, offset),
        BLOCK_SIZE=block_size,
        ROWS=_ROWS,
        IS_FNUZ=fp8_dtype == torch.float8_e4m3fnuz,
        num_warps=_WARPS,
    )


def _decode_slots(
    out: torch.Tensor,
    k_cache: torch.Tensor,
    slots: torch.Tensor,
    block_size: int,
    fp8_dtype: torch.dtype,
) -> None:
    """The same in torch, which takes a row of its own for each slot; padding reads slot 0."""
    layout = FP8_DS_MLA_V4
    pool = Fp8Rows.of_pool(k_cache, layout.nope_head_dim, layout.rope_head_dim, fp8_dtype)
    found = slots.clamp(min=0).to(torch.int64)
    rows = pool.at(found // block_size, found % block_size).decode(torch.bfloat16)
    out.copy_(torch.where((slots >= 0).unsqueeze(-1), rows, out))


def _check(
    out: torch.Tensor, k_cache: torch.Tensor, block_size: int, fp8_dtype: torch.dtype
) -> None:
    head_dim, token_bytes = FP8_DS_MLA_V4.head_dim, FP8_DS_MLA_V4.token_bytes
    if out.dtype != torch.bfloat16 or out.shape[-1] != head_dim or out.stride(-1) != 1:
        raise UsageError(
            f"out is {out.dtype} {list(out.shape)}: it must be torch.bfloat16 [..., {head_dim}], "
            "contiguous in its last dimension"
        )
    if k_cache.dtype != torch.uint8 or list(k_cache.shape[1:]) != [block_size, token_bytes]:
        raise UsageError(
            f"k_cache is {k_cache.dtype} {list(k_cache.shape)}: it must be torch.uint8 "
            f"[num_blocks, {block_size}, {token_bytes}]"
        )
    if fp8_dtype not in FP8:
        raise UsageError(f"fp8_dtype is {fp8_dtype}: it must be one of {', '.join(map(str, FP8))}")
