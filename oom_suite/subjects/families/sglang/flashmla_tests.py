"""Stands in for `sglang.srt.flashmla_tests`, which sglang's wheel imports and does not contain.

Written for what the caller asks of it: a whole cache of DeepSeek-V4's blocks is converted, as the
caller's call says, and each query attends to the tokens that its indices name. A block has the
rows of all tokens first, 448 fp8 values and 64 of bf16 each, then eight scale bytes a token, of
which seven are used, each the power of two of 64 fp8 values.

Source: sglang 0.5.23 `sglang/srt/layers/attention/hip_flash_mla.py:265-390`, the calls.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from oom_suite.subjects.loading import Given

_NUM_FP8, _NUM_VALUES = 448, 512
_ROW_BYTES, _SCALE_BYTES = 576, 8
_GROUP = 64


class FP8KVCacheLayout(enum.Enum):
    """The one layout that is known."""

    MODEL1_FP8Sparse = "DeepSeek-V4"


class Record:
    """Takes whatever keywords its caller gives."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def quant(_: Given) -> dict[str, Any]:
    """The names of `sglang.srt.flashmla_tests.quant`."""
    return {"FP8KVCacheLayout": FP8KVCacheLayout, "dequantize_k_cache": dequantize_k_cache}


def lib(_: Given) -> dict[str, Any]:
    """The names of `sglang.srt.flashmla_tests.lib`."""
    names = ("ExtraTestParamForDecode", "KVScope", "TestcaseForDecode", "TestParam")
    return dict.fromkeys(names, Record)


def ref(_: Given) -> dict[str, Any]:
    """The names of `sglang.srt.flashmla_tests.ref`."""
    return {"ref_sparse_attn_decode": ref_sparse_attn_decode}


def dequantize_k_cache(cache: torch.Tensor, layout: FP8KVCacheLayout) -> torch.Tensor:
    """Every token of every block as bfloat16: [num_blocks, block_size, 1, 512], contiguous.

    Args:
        cache: fp8 of the caller's kind [num_blocks, block_size, 1, 584]; blocks may lie apart.
        layout: the only one there is.
    """
    del layout
    num_blocks, block_size = cache.shape[:2]
    size = (num_blocks, block_size * (_ROW_BYTES + _SCALE_BYTES))
    flat = cache.as_strided(size, (cache.stride(0), 1))
    num_row_bytes = block_size * _ROW_BYTES
    rows, scales = flat[:, :num_row_bytes], flat[:, num_row_bytes:]
    rows = rows.view(num_blocks, block_size, _ROW_BYTES)
    powers = scales.view(num_blocks, block_size, _SCALE_BYTES).view(torch.float8_e8m0fnu)
    whole = cache.new_empty((*cache.shape[:3], _NUM_VALUES), dtype=torch.bfloat16)
    tokens = whole.squeeze(2)
    tokens[..., _NUM_FP8:] = rows[..., _NUM_FP8:].view(torch.bfloat16)
    for group, first in enumerate(range(0, _NUM_FP8, _GROUP)):
        columns = slice(first, first + _GROUP)
        factor = powers[..., group, None].to(torch.bfloat16)
        tokens[..., columns] = rows[..., columns].to(torch.bfloat16) * factor
    return whole


def ref_sparse_attn_decode(param: Record, case: Record) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of each query to the tokens that its indices name.

    Args:
        param: with `d_v`, how many values of a token the output has.
        case: with `q`, `sm_scale`, `attn_sink`, `kv_scope` and `extra_kv_scope`.

    Returns:
        The output, bfloat16 [batch, queries, heads, values], and the log of the sum of exponents,
        float32 [batch, heads, queries].
    """
    given: Any = case
    scopes = [scope for scope in (given.kv_scope, given.extra_kv_scope) if scope is not None]
    keys = torch.cat([_named_tokens(scope) for scope in scopes], dim=2).float()
    hidden = torch.cat([_hidden(scope) for scope in scopes], dim=2)
    keys.masked_fill_(hidden.unsqueeze(-1), 0.0)
    scores = torch.einsum("bshd,bstd->bsht", given.q.float(), keys) * given.sm_scale
    scores.masked_fill_(hidden.unsqueeze(2), -torch.inf)
    lse = scores.logsumexp(dim=-1)
    sink = given.attn_sink
    total = lse if sink is None else torch.logaddexp(lse, sink.float())
    weights = (scores - total.unsqueeze(-1)).exp().nan_to_num(nan=0.0)
    values: Any = param
    output = torch.einsum("bsht,bstv->bshv", weights, keys[..., : values.d_v])
    return output.to(torch.bfloat16), lse.transpose(1, 2)


def _named_tokens(scope: Any) -> torch.Tensor:
    tokens: torch.Tensor = scope.blocked_k.flatten(0, 2)
    return tokens[scope.indices_in_kvcache.clamp_min(0)]


def _hidden(scope: Any) -> torch.Tensor:
    indices: torch.Tensor = scope.indices_in_kvcache
    hidden = indices < 0
    if scope.topk_length is not None:
        places = torch.arange(indices.shape[-1], device=indices.device)
        hidden = hidden | (places >= scope.topk_length.view(-1, 1, 1))
    return hidden
