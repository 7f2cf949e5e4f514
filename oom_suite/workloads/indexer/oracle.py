"""The logits that the indexer's steps must give, in float64, and how far they may be off."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.indexer.step import HEAD_DIM, SCALE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_BYTES = HEAD_DIM + SCALE_BYTES

_ROUNDED = 2.0**-13
"""Share of a score's summands that sums may be off by: a tensor core that adds products of fp8
keeps 14 bits of the largest. Source: DeepSeek-V3, arXiv 2412.19437, section 3.3.2.
"""
_BF16 = 2.0**-8
"""Share of a score that is lost where it is rounded to bf16, as vLLM's prefill in torch does."""


def decode_oracle(
    step: Mapping[str, Any], fp8_dtype: torch.dtype = torch.float8_e4m3fn
) -> torch.Tensor:
    """The logits float64 [batch * next_n, max_model_len] on the CPU, one row at a time.

    A key's logit is the sum over heads of the weight times what is positive of the dot product
    with the query, times the key's scale; -inf where a token sees no key.

    Source: DeepSeek-V3.2-Exp, equation 1; DeepGEMM `tests/test_attention.py`,
    `ref_fp8_paged_mqa_logits`.
    """
    return _by_row(step, fp8_dtype, _logits, -torch.inf)


def decode_tolerance(
    step: Mapping[str, Any],
    expected: torch.Tensor,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
) -> torch.Tensor:
    """What sums of fp8 products may be off by; nothing where there is no key."""
    del expected
    return _by_row(step, fp8_dtype, _rounding, 0.0)


def prefill_oracle(
    step: Mapping[str, Any], fp8_dtype: torch.dtype = torch.float8_e4m3fn
) -> torch.Tensor:
    """As `decode_oracle`, of keys from ``cu_seqlen_ks`` up to ``cu_seqlen_ke``."""
    del fp8_dtype
    return _by_token(step, _logits, -torch.inf)


def prefill_tolerance(
    step: Mapping[str, Any],
    expected: torch.Tensor,
    fp8_dtype: torch.dtype = torch.float8_e4m3fn,
) -> torch.Tensor:
    """As `decode_tolerance`, and each head's score may be rounded to bf16."""
    del expected, fp8_dtype
    return _by_token(step, functools.partial(_rounding, share_of_score=_BF16), 0.0)


def _logits(
    q: torch.Tensor, keys: torch.Tensor, scales: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Of queries [heads, 128], keys [n, 128], scales [n] and weights [heads]: [n]."""
    return (weights @ (q @ keys.T).clamp_min(0.0)) * scales


def _rounding(
    q: torch.Tensor,
    keys: torch.Tensor,
    scales: torch.Tensor,
    weights: torch.Tensor,
    share_of_score: float = 0.0,
) -> torch.Tensor:
    summands = weights.abs() @ (q.abs() @ keys.abs().T) * _ROUNDED
    scores = weights.abs() @ (q @ keys.T).abs() * share_of_score
    return (summands + scores) * scales


def _by_row(
    step: Mapping[str, Any], fp8_dtype: torch.dtype, of: Any, without: float
) -> torch.Tensor:
    batch, next_n = step["q"].shape[:2]
    q, weights = step["q"].cpu().double(), step["weights"].cpu().double()
    found = torch.full((batch * next_n, step["max_model_len"]), without, dtype=torch.float64)
    for row in range(batch * next_n):
        request, token = divmod(row, next_n)
        limit = int(step["context_lens"][request]) - next_n + token + 1
        positions, keys, scales = _keys(step, request, limit, fp8_dtype)
        found[row, positions] = of(q[request, token], keys, scales, weights[row])
    return found


def _keys(
    step: Mapping[str, Any], request: int, limit: int, fp8_dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which positions below the limit have a block, their keys and their scales."""
    pool, table = step["kv_cache"], step["block_tables"][request].cpu().long()
    num_blocks, block_size = pool.shape[:2]
    positions = torch.arange(max(0, min(limit, len(table) * block_size, step["max_model_len"])))
    blocks = table[positions // block_size]
    is_there = (blocks >= 0) & (blocks < num_blocks)
    positions, blocks = positions[is_there], blocks[is_there]
    values, scales = halves_of(pool[blocks.to(pool.device)].cpu().flatten(1), block_size)
    row = torch.arange(len(blocks))
    keys = values.view(fp8_dtype)[row, positions % block_size]
    return positions, keys.double(), scales[row, positions % block_size].double()


def halves_of(blocks: torch.Tensor, block_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Blocks uint8 [n, bytes] as values uint8 [n, block_size, 128] and scales float32."""
    values = blocks[:, : block_size * HEAD_DIM].reshape(-1, block_size, HEAD_DIM)
    scales = blocks[:, block_size * HEAD_DIM : block_size * TOKEN_BYTES].contiguous()
    return values, scales.view(torch.float32)


def _by_token(step: Mapping[str, Any], of: Any, without: float) -> torch.Tensor:
    q, weights = step["q"].cpu().double(), step["weights"].cpu().double()
    keys, scales = (one.cpu().double() for one in step["kv"])
    scales = scales.flatten()
    found = torch.full((len(q), len(keys)), without, dtype=torch.float64)
    ends = zip(step["cu_seqlen_ks"].tolist(), step["cu_seqlen_ke"].tolist(), strict=True)
    for token, (first, end) in enumerate(ends):
        seen = slice(max(0, first), max(0, end))
        found[token, seen] = of(q[token], keys[seen], scales[seen], weights[token])
    return found
