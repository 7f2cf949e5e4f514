"""The fast paths on NVIDIA's Hopper, for what they are written for."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import TYPE_CHECKING

import torch
from packaging.specifiers import SpecifierSet

from oom_suite.workloads.sparse_mla.kernels import arguments
from oom_suite.workloads.sparse_mla.kernels.dispatch import FastPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead

_CAPABILITY = (9, 0)
_TRITON = SpecifierSet(">=3.6,<3.8")
"""That of torch 2.11 to 2.13; `tests/unit/workloads/kernels/test_compiled.py` compiles for them."""
_HEADS, _KEYS, _LEAST_ROWS = 64, 64, 8
_ALIGNMENT_BYTES = 16


def _is_written_for(tensor: torch.Tensor, fp8_dtype: torch.dtype, *strided: torch.Tensor) -> bool:
    """Whether it is a Hopper, with Triton's lower language, that this fp8 and these lie for."""
    return (
        tensor.is_cuda
        and torch.version.hip is None
        and torch.cuda.get_device_capability(tensor.device) == _CAPABILITY
        and fp8_dtype == torch.float8_e4m3fn
        and all(_is_aligned(one) for one in strided)
        and os.environ.get("TRITON_INTERPRET") != "1"
        and _has_gluon()
    )


def _is_aligned(tensor: torch.Tensor) -> bool:
    """Whether every page of a pool, or every row of bf16, begins at a multiple of 16 bytes."""
    strides = tensor.stride()[: 1 if tensor.dtype == torch.uint8 else -1]
    steps = (tensor.storage_offset(), *strides)
    return not any(step * tensor.element_size() % _ALIGNMENT_BYTES for step in steps)


@functools.cache
def _has_gluon() -> bool:
    """Whether Triton is one whose lower language the kernels are written in."""
    if importlib.util.find_spec("triton") is None:
        return False
    import triton

    return _TRITON.contains(triton.__version__, prereleases=True)


def _decode_applies(
    q: torch.Tensor, reads: Sequence[PoolRead], fp8_dtype: torch.dtype, **_rest: object
) -> bool:
    return _is_written_for(q, fp8_dtype, *(read.pool for read in reads))


def _decode(
    q: torch.Tensor,
    reads: Sequence[PoolRead],
    attn_sink: torch.Tensor | None,
    scale: float,
    output: torch.Tensor,
    fp8_dtype: torch.dtype,
    parts: torch.Tensor | None,
) -> None:
    from oom_suite.workloads.sparse_mla.kernels.on_triton.decode_hopper import decode_kernel

    # What programs that share a token have to exchange stays in their shared memory.
    del fp8_dtype, parts
    num_tokens, num_heads, _ = q.shape
    grid = (num_tokens, -(-num_heads // _HEADS), 1)
    given = arguments.of_step(output, q, reads, attn_sink, scale)
    constants = {
        "SWA_SIZE": reads[0].pool.shape[1],
        "EXTRA_SIZE": reads[-1].pool.shape[1],
        "HAS_EXTRA": len(reads) > 1,
        "HAS_SINK": attn_sink is not None,
        "ROWS": min(_HEADS, max(_LEAST_ROWS, 1 << (num_heads - 1).bit_length())),
    }
    num_tiles = sum(-(-read.indices.shape[1] // _KEYS) for read in reads)
    num_cores = torch.cuda.get_device_properties(q.device).multi_processor_count
    size = cluster_size(grid[0] * grid[1], num_tiles, num_cores)
    compiled = decode_kernel.warmup(*given, *constants.values(), size, grid=grid, num_warps=8)
    # Triton starts clusters of as many programs as this says that it compiled for. Here each of
    # them is a program of its own.
    num_warps, _, *rest = compiled.packed_metadata
    compiled.packed_metadata = (num_warps, size, *rest)
    compiled[grid](*given, *constants.values(), size)


def cluster_size(num_programs: int, num_tiles: int, num_cores: int) -> int:
    """How many programs share the keys of a token: 8, 4, 2 or 1.

    Args:
        num_programs: how many there are if none do.
        num_tiles: none is without a tile.
        num_cores: of the GPU. A program fills one; those of a cluster are neighbours, of which
            an eighth of the cores is not surely part, but where it is of two.
    """
    for size in (8, 4, 2):
        free = num_cores if size == 2 else num_cores * 7 // 8
        if size <= num_tiles and size * num_programs <= free:
            return size
    return 1


def _gather_applies(
    out: torch.Tensor, k_cache: torch.Tensor, fp8_dtype: torch.dtype, **_rest: object
) -> bool:
    return _is_written_for(out, fp8_dtype, out, k_cache)


def _gather_sparse(
    out: torch.Tensor,
    k_cache: torch.Tensor,
    slot_indices: torch.Tensor,
    block_size: int,
    fp8_dtype: torch.dtype,
) -> None:
    from oom_suite.workloads.sparse_mla.kernels.on_triton import gather_hopper

    del fp8_dtype
    given = arguments.of_slots(out, k_cache, slot_indices)
    grid = (-(-slot_indices.shape[0] // gather_hopper.ROWS.value),)
    gather_hopper.gather_sparse_kernel[grid](*given, BLOCK_SIZE=block_size, num_warps=1)


def _gather_dense(
    out: torch.Tensor,
    k_cache: torch.Tensor,
    seq_lens: torch.Tensor,
    gather_lens: torch.Tensor | None,
    block_table: torch.Tensor,
    block_size: int,
    offset: int,
    fp8_dtype: torch.dtype,
) -> None:
    from oom_suite.workloads.sparse_mla.kernels.on_triton import gather_hopper

    del fp8_dtype
    given = arguments.of_prefixes(out, k_cache, seq_lens, gather_lens, block_table, offset)
    grid = (-(-(out.shape[1] - offset) // gather_hopper.ROWS.value), out.shape[0])
    gather_hopper.gather_dense_kernel[grid](*given, BLOCK_SIZE=block_size, num_warps=1)


DECODE = FastPath("decode", _decode_applies, _decode)
GATHER_SPARSE = FastPath("gather_sparse", _gather_applies, _gather_sparse)
GATHER_DENSE = FastPath("gather_dense", _gather_applies, _gather_dense)
