"""Steps that grow with an axis they may grow with, but faster or further than the bound allows."""

from __future__ import annotations

from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.selfcheck.faults.gather import (
    decode_holding,
    parts_of,
    pool_rows,
    where_named,
)
from oom_suite.selfcheck.faults.record import LAW
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention

_MAX_MODEL_LEN = 1 << 20


@mutant(LAW)
def max_model_len(**step: Any) -> None:
    """Logits as long as the longest context that the model allows, whatever the lengths."""
    q = step["q"]
    logits = torch.empty((*q.shape[:2], _MAX_MODEL_LEN), dtype=torch.bfloat16, device=q.device)
    decode_holding(step, logits)


@mutant(LAW)
def batch_squared(**step: Any) -> None:
    """Which request may see which: a matrix of all pairs, per head and value."""
    q = step["q"]
    num_tokens, num_heads, head_dim = q.shape
    pairs = torch.empty((num_tokens, num_tokens, num_heads, head_dim), device=q.device)
    decode_holding(step, pairs)


@mutant(LAW)
def batch_squared_mask(**step: Any) -> None:
    """A mask of all pairs of requests, small at every batch that is run."""
    num_tokens, device = step["q"].shape[0], step["q"].device
    decode_holding(step, torch.zeros((num_tokens, num_tokens), dtype=torch.bool, device=device))


@mutant(LAW)
def heads_squared(**step: Any) -> None:
    """Every head beside every other."""
    q = step["q"]
    num_tokens, num_heads, head_dim = q.shape
    decode_holding(step, torch.empty((num_tokens, num_heads, num_heads, head_dim), device=q.device))


@mutant(LAW, about_two_pools=True)
def keys_for_every_head(**step: Any) -> None:
    """The keys named, once for each head."""
    q, width = step["q"], step["topk_indices"].shape[-1]
    repeated = torch.empty((*q.shape[:2], width, q.shape[2]), dtype=q.dtype, device=q.device)
    decode_holding(step, repeated)


@mutant(LAW, about_two_pools=True)
def five_copies_of_logits(**step: Any) -> None:
    """Five float32 copies of the logits over both pools, and what decoding takes beside them."""
    q = step["q"]
    for part in parts_of(step):
        shape = (*q.shape[:2], part.indices.shape[1])
        copies = torch.empty((5, *shape), dtype=torch.float32, device=q.device)
        del copies
    token_gather_decode(**step)


@mutant(LAW, about_two_pools=True)
def top_k_squared(**step: Any) -> None:
    """Which entry of a row repeats which other, for duplicates."""
    indices = step["topk_indices"].flatten(1)
    decode_holding(step, indices.unsqueeze(1) == indices.unsqueeze(2))


@mutant(LAW, about_two_pools=True)
def window_times_top_k(**step: Any) -> None:
    """Which entry of the window is an entry of the compressed pool."""
    swa, extra = step["swa_indices"].flatten(1), step["topk_indices"].flatten(1)
    decode_holding(step, swa.unsqueeze(2) == extra.unsqueeze(1))


@mutant(LAW)
def blocks_squared(**step: Any) -> None:
    """Distinct blocks in pairs, with a row of values for each."""
    head_dim = step["q"].shape[2]
    for part in parts_of(step):
        num_blocks = torch.unique(where_named(part).block).shape[0]
        pairs = torch.empty((num_blocks, num_blocks, head_dim), device=part.pool.device)
        del pairs
    token_gather_decode(**step)


@mutant(LAW)
def nine_values_for_one(**step: Any) -> None:
    """Nine float32 copies of every key named, where eight are allowed."""
    num_tokens, head_dim = step["q"].shape[0], step["q"].shape[2]
    for part in parts_of(step):
        width = part.indices.shape[1]
        copies = torch.empty((9, num_tokens, width, head_dim), device=part.pool.device)
        del copies
    token_gather_decode(**step)


@mutant(LAW, "decode", "at")
def block_for_every_entry(**step: Any) -> None:
    """The whole block of every entry is gathered, to read one token of each."""
    attention = RunningAttention(step["q"], step["scale"])
    for part in parts_of(step):
        slots = where_named(part)
        whole = pool_rows(part, step).at(slots.block).decode(torch.float32)
        offset = slots.offset[..., None, None].expand(-1, -1, 1, whole.shape[-1])
        attention.add(whole.gather(2, offset).squeeze(2), slots.counts)
        del whole, offset, slots
    attention.finish(step["attn_sink"], step["output"])


@mutant(LAW)
def splits_times_tokens(**step: Any) -> None:
    """Partial results of 64 splits for each query and head, where 32 are allowed."""
    q = step["q"]
    decode_holding(step, torch.empty((64, *q.shape), dtype=torch.float32, device=q.device))
