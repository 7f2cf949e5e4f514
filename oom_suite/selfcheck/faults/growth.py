"""Steps whose memory grows with the pool: each is a healthy one with one allocation too many.

What is allocated stays alive until the step returns, unless the fault is that it does not.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.selfcheck.faults.gather import decode_holding
from oom_suite.selfcheck.faults.record import LAW
from oom_suite.workloads.sparse_mla.builtins import full_dequant_decode, token_gather_decode
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows

_grows = functools.partial(mutant, LAW, along=())

_LARGE_POOL = 100_000
_MANY_HEADS = 64
_NUM_CALLS = [0]
_BUFFERS: dict[str, torch.Tensor] = {}


def _dequantized(pool: torch.Tensor, step: dict[str, Any]) -> torch.Tensor:
    dims = (step["nope_head_dim"], step["rope_head_dim"], torch.float8_e4m3fn)
    return Fp8Rows.of_pool(pool, *dims).decode(torch.bfloat16)


@_grows("decode")
def whole_dequant_swa(**step: Any) -> None:
    """Decodes the whole of the sliding window's pool."""
    decode_holding(step, _dequantized(step["swa_k_cache"], step))


@_grows("decode", about_two_pools=True)
def whole_dequant_extra(**step: Any) -> None:
    """Decodes the whole of the compressed pool."""
    decode_holding(step, _dequantized(step["kv_cache"], step))


@_grows("decode", about_two_pools=True)
def whole_dequant_both(**step: Any) -> None:
    """Decodes both pools: the bug of vLLM #41962 itself."""
    full_dequant_decode(**step)


@_grows()
def byte_per_block(**step: Any) -> None:
    """A byte of state for each block."""
    pool = step["swa_k_cache"]
    decode_holding(step, torch.zeros(pool.shape[0], dtype=torch.uint8, device=pool.device))


@_grows()
def bit_per_block(**step: Any) -> None:
    """A bitmap with one bit for each block."""
    pool = step["swa_k_cache"]
    bitmap = torch.zeros((pool.shape[0] + 7) // 8, dtype=torch.uint8, device=pool.device)
    decode_holding(step, bitmap)


@_grows(about_two_pools=True)
def bit_per_extra_block(**step: Any) -> None:
    """A bitmap with one bit for each block of the compressed pool alone."""
    pool = step["kv_cache"]
    bitmap = torch.zeros((pool.shape[0] + 7) // 8, dtype=torch.uint8, device=pool.device)
    decode_holding(step, bitmap)


@_grows()
def bit_per_block_in_words(**step: Any) -> None:
    """A bitmap with one bit for each block, in words of 32 bits."""
    pool = step["swa_k_cache"]
    bitmap = torch.zeros((pool.shape[0] + 31) // 32, dtype=torch.int32, device=pool.device)
    decode_holding(step, bitmap)


@_grows()
def only_above_a_size(**step: Any) -> None:
    """A byte for each block, from 100,000 blocks on."""
    pool = step["swa_k_cache"]
    large = pool.shape[0] if pool.shape[0] > _LARGE_POOL else 0
    decode_holding(step, torch.zeros(large, dtype=torch.uint8, device=pool.device))


@_grows(about_two_pools=True)
def only_below_a_size(**step: Any) -> None:
    """A byte for each block, below 100,000 blocks."""
    pool = step["kv_cache"]
    small = pool.shape[0] if pool.shape[0] < _LARGE_POOL else 0
    decode_holding(step, torch.zeros(small, dtype=torch.uint8, device=pool.device))


@_grows(workload="decode-swa")
def only_without_extra(**step: Any) -> None:
    """A byte for each block in layers that have the sliding window alone."""
    pool = step["swa_k_cache"]
    num_blocks = pool.shape[0] if step["swa_only"] else 0
    decode_holding(step, torch.zeros(num_blocks, dtype=torch.uint8, device=pool.device))


@_grows(about_two_pools=True)
def only_with_extra(**step: Any) -> None:
    """A byte for each block in layers that have a compressed pool."""
    pool = step["swa_k_cache"]
    num_blocks = 0 if step["swa_only"] else pool.shape[0]
    decode_holding(step, torch.zeros(num_blocks, dtype=torch.uint8, device=pool.device))


@_grows(along=("num_tokens",))
def only_at_one_token(**step: Any) -> None:
    """A byte for each block when one request decodes alone."""
    pool = step["swa_k_cache"]
    num_blocks = pool.shape[0] if step["q"].shape[0] == 1 else 0
    decode_holding(step, torch.zeros(num_blocks, dtype=torch.uint8, device=pool.device))


@_grows(about_two_pools=True, along=("num_heads",))
def only_with_many_heads(**step: Any) -> None:
    """A byte for each block above 64 heads."""
    pool = step["kv_cache"]
    num_blocks = pool.shape[0] if step["q"].shape[1] > _MANY_HEADS else 0
    decode_holding(step, torch.zeros(num_blocks, dtype=torch.uint8, device=pool.device))


@_grows(along=("num_tokens",), is_stateful=True)
def from_the_second_call(**step: Any) -> None:
    """A byte for each block, made when the step is called again."""
    _NUM_CALLS[0] += 1
    pool = step["swa_k_cache"]
    num_blocks = pool.shape[0] if _NUM_CALLS[0] > 1 else 0
    decode_holding(step, torch.zeros(num_blocks, dtype=torch.uint8, device=pool.device))


@_grows(along=("num_tokens",), is_stateful=True)
def in_a_global_buffer(**step: Any) -> None:
    """A byte for each block, kept for the steps to come and remade for a larger pool."""
    pool = step["swa_k_cache"]
    kept = _BUFFERS.get("state")
    if kept is None or kept.shape[0] < pool.shape[0] or kept.device != pool.device:
        _BUFFERS["state"] = torch.zeros(pool.shape[0], dtype=torch.uint8, device=pool.device)
    token_gather_decode(**step)


@_grows()
def in_a_side_stream(**step: Any) -> None:
    """A byte for each block, taken on another stream where the device has streams."""
    pool = step["swa_k_cache"]
    beside: Any = contextlib.nullcontext()
    if pool.device.type == "cuda":
        side = torch.cuda.Stream(pool.device)  # type: ignore[no-untyped-call] # torch's own
        side.wait_stream(torch.cuda.current_stream(pool.device))
        beside = torch.cuda.stream(side)
    with beside:
        state = torch.zeros(pool.shape[0], dtype=torch.uint8, device=pool.device)
    token_gather_decode(**step)
    if pool.device.type == "cuda":
        torch.cuda.current_stream(pool.device).wait_stream(side)
    del state


@_grows()
def index_map(**step: Any) -> None:
    """A map from every slot of the pool to a compact one."""
    pool = step["swa_k_cache"]
    slots = torch.full((pool.shape[0] * pool.shape[1],), -1, dtype=torch.int64, device=pool.device)
    decode_holding(step, slots)


@_grows()
def clone_of_pool(**step: Any) -> None:
    """A copy of the whole pool, which the step then reads."""
    token_gather_decode(**{**step, "swa_k_cache": step["swa_k_cache"].clone()})


@_grows(about_two_pools=True)
def pool_as_float(**step: Any) -> None:
    """The bytes of the whole pool as float16, read nowhere."""
    decode_holding(step, step["kv_cache"].to(torch.float16))


@_grows()
def arange_of_slots(**step: Any) -> None:
    """The number of every slot of the pool."""
    pool = step["swa_k_cache"]
    decode_holding(step, torch.arange(pool.shape[0] * pool.shape[1], device=pool.device))


@_grows()
def counts_of_slots(**step: Any) -> None:
    """How often each slot of the pool is named."""
    pool, indices = step["swa_k_cache"], step["swa_indices"]
    counts = torch.zeros(pool.shape[0] * pool.shape[1], dtype=torch.int32, device=pool.device)
    named = indices.flatten().clamp_min(0).to(torch.int64)
    counts.index_add_(0, named, torch.ones_like(named, dtype=torch.int32))
    decode_holding(step, counts)


@_grows()
def one_hot_of_blocks(**step: Any) -> None:
    """For each request its first block, one-hot over the pool."""
    pool, indices = step["swa_k_cache"], step["swa_indices"].flatten(1)
    first = indices[:, :1].clamp_min(0).to(torch.int64) // pool.shape[1]
    decode_holding(step, first == torch.arange(pool.shape[0], device=pool.device))


@_grows(about_two_pools=True)
def mask_of_blocks(**step: Any) -> None:
    """Which blocks of the pool are named."""
    pool, indices = step["kv_cache"], step["topk_indices"]
    mask = torch.zeros(pool.shape[0], dtype=torch.bool, device=pool.device)
    mask.index_fill_(0, indices.flatten().clamp_min(0).to(torch.int64) // pool.shape[1], value=1)
    decode_holding(step, mask)


@_grows()
def mask_by_isin(**step: Any) -> None:
    """Which blocks of the pool are named, by a comparison of each with those."""
    pool, indices = step["swa_k_cache"], step["swa_indices"].flatten(1)
    blocks = indices[0].clamp_min(0) // pool.shape[1]
    every = torch.arange(pool.shape[0], dtype=torch.int32, device=pool.device)
    decode_holding(step, (every.unsqueeze(1) == blocks[:1]).any(dim=1))


@_grows()
def prefix_of_blocks(**step: Any) -> None:
    """A running count over the pool, as compaction by prefix sums has it."""
    pool = step["swa_k_cache"]
    decode_holding(step, torch.ones(pool.shape[0], dtype=torch.int32, device=pool.device).cumsum(0))


@_grows()
def pool_padded_to_a_power_of_two(**step: Any) -> None:
    """A byte for each block of the pool, the pool padded to a power of two."""
    pool = step["swa_k_cache"]
    padded = 1 << (pool.shape[0] - 1).bit_length()
    decode_holding(step, torch.zeros(padded, dtype=torch.uint8, device=pool.device))


@_grows()
def contiguous_scales(**step: Any) -> None:
    """The scales of the whole pool, made contiguous."""
    pool = step["swa_k_cache"]
    dims = (step["nope_head_dim"], step["rope_head_dim"], torch.float8_e4m3fn)
    decode_holding(step, Fp8Rows.of_pool(pool, *dims).scales.contiguous())


@_grows(about_two_pools=True)
def freed_below_the_peak(**step: Any) -> None:
    """A byte for each block, freed before anything larger is allocated."""
    pool = step["kv_cache"]
    state = torch.zeros(pool.shape[0], dtype=torch.uint8, device=pool.device)
    del state
    token_gather_decode(**step)


@_grows(about_two_pools=True)
def smaller_of_both_pools(**step: Any) -> None:
    """A byte for each block of whichever pool is smaller."""
    pool = step["kv_cache"]
    num_blocks = min(pool.shape[0], step["swa_k_cache"].shape[0])
    decode_holding(step, torch.zeros(num_blocks, dtype=torch.uint8, device=pool.device))


@_grows(along=("num_tokens",))
def tokens_times_blocks(**step: Any) -> None:
    """Which request names which block, a matrix over the pool."""
    pool, num_tokens = step["swa_k_cache"], step["q"].shape[0]
    names = torch.zeros((num_tokens, pool.shape[0]), dtype=torch.bool, device=pool.device)
    decode_holding(step, names)


@_grows()
def order_of_blocks(**step: Any) -> None:
    """Every block of the pool, put in order."""
    pool = step["swa_k_cache"]
    state = torch.empty(pool.shape[0], dtype=torch.uint8, device=pool.device)
    order = torch.argsort(state)
    decode_holding(step, state, order)


@_grows()
def every_turn_keeps(**step: Any) -> None:
    """A constant buffer for every 16,384 blocks of the pool, all of them kept."""
    pool = step["swa_k_cache"]
    kept = []
    for _ in range(0, pool.shape[0], 16384):
        kept.append(pool.new_empty(4096))
    decode_holding(step, kept)


@_grows(about_two_pools=True)
def largest_of_all_scales(**step: Any) -> None:
    """The largest scale byte of each block of the pool."""
    pool = step["kv_cache"]
    dims = (step["nope_head_dim"], step["rope_head_dim"], torch.float8_e4m3fn)
    decode_holding(step, Fp8Rows.of_pool(pool, *dims).scales.amax(dim=(1, 2)))
