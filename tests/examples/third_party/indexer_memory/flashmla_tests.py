"""Stands in for `sglang.srt.flashmla_tests`, which sglang's wheel imports and does not contain.

Written for what the caller asks of it, and for the layout of a DeepSeek-V4 cache block: first the
rows of all tokens, 448 fp8 values and 64 bf16 ones each, then eight scale bytes a token, of which
seven are used, each the power of two of 64 fp8 values. The whole cache is decoded, as the caller's
call says; what the attention itself takes is this file's, not sglang's.
"""

from __future__ import annotations

import enum

import torch

NUM_FP8 = 448
NUM_VALUES = 512
ROW_BYTES = 576
GROUP = 64
SCALE_BYTES = 8


class FP8KVCacheLayout(enum.Enum):
    MODEL1_FP8Sparse = "DeepSeek-V4"


class Record:
    """Takes whatever keywords its caller gives."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


def quant(given):
    """The names of `sglang.srt.flashmla_tests.quant`."""
    return {"FP8KVCacheLayout": FP8KVCacheLayout, "dequantize_k_cache": dequantize_k_cache}


def lib(given):
    """The names of `sglang.srt.flashmla_tests.lib`."""
    names = ("ExtraTestParamForDecode", "KVScope", "TestcaseForDecode", "TestParam")
    return dict.fromkeys(names, Record)


def ref(given):
    """The names of `sglang.srt.flashmla_tests.ref`."""
    return {"ref_sparse_attn_decode": ref_sparse_attn_decode}


def dequantize_k_cache(cache, layout):
    """Every token of every block as bf16: [num_blocks, block_size, 1, 512], contiguous.

    Args:
        cache: fp8 of the caller's kind [num_blocks, block_size, 1, 584]; blocks may lie apart.
        layout: the only one there is.
    """
    assert layout is FP8KVCacheLayout.MODEL1_FP8Sparse
    block_size = cache.shape[1]
    rows, scales = cache.flatten(1).split((block_size * ROW_BYTES, block_size * SCALE_BYTES), 1)
    rows = rows.unflatten(1, (block_size, ROW_BYTES))
    powers = scales.unflatten(1, (block_size, SCALE_BYTES)).view(torch.float8_e8m0fnu)
    whole = cache.new_empty((*cache.shape[:3], NUM_VALUES), dtype=torch.bfloat16)
    tokens = whole.squeeze(2)
    tokens[..., NUM_FP8:] = rows[..., NUM_FP8:].view(torch.bfloat16)
    for group, first in enumerate(range(0, NUM_FP8, GROUP)):
        columns = slice(first, first + GROUP)
        factor = powers[..., group, None].to(torch.bfloat16)
        tokens[..., columns] = rows[..., columns].to(torch.bfloat16) * factor
    return whole


def ref_sparse_attn_decode(param, case):
    """Attention of each query to the tokens that its indices name.

    Returns:
        The output, bf16 [batch, queries, heads, values], and the log of the sum of exponents,
        [batch, heads, queries].
    """
    scopes = [scope for scope in (case.kv_scope, case.extra_kv_scope) if scope is not None]
    keys = torch.cat([_named_tokens(scope) for scope in scopes], dim=2).float()
    hidden = torch.cat([_hidden(scope) for scope in scopes], dim=2)
    scores = torch.einsum("bshd,bstd->bsht", case.q.float(), keys) * case.sm_scale
    scores.masked_fill_(hidden.unsqueeze(2), -torch.inf)
    lse = scores.logsumexp(dim=-1)
    total = lse if case.attn_sink is None else torch.logaddexp(lse, case.attn_sink.float())
    weights = (scores - total.unsqueeze(-1)).exp().nan_to_num(nan=0.0)
    output = torch.einsum("bsht,bstv->bshv", weights, keys[..., : param.d_v])
    return output.to(torch.bfloat16), lse.transpose(1, 2)


def _named_tokens(scope):
    return scope.blocked_k.flatten(0, 2)[scope.indices_in_kvcache.clamp_min(0)]


def _hidden(scope):
    indices = scope.indices_in_kvcache
    hidden = indices < 0
    if scope.topk_length is not None:
        places = torch.arange(indices.shape[-1], device=indices.device)
        hidden = hidden | (places >= scope.topk_length.view(-1, 1, 1))
    return hidden
