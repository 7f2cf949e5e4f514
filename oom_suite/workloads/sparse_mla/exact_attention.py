"""Attention in float64, a token at a time, and how far a correct bf16 result may be from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    KeysOf = Callable[[int], torch.Tensor]


def attention(step: Mapping[str, Any], keys_of: KeysOf) -> torch.Tensor:
    """What each token attends to, its keys being its values too.

    Softmax runs over the token's keys and the sink, if there is one; the sink gives no value. A
    token without any key gets zeros.

    Args:
        step: ``q`` [num_tokens, num_heads, head_dim], ``scale`` and ``attn_sink`` [at least
            num_heads] or None; nothing in it is written.
        keys_of: the keys of a token, float64 [num_keys, head_dim] on the CPU.

    Returns:
        float64 [num_tokens, num_heads, head_dim], on the CPU.
    """
    q = step["q"].to("cpu", torch.float64)
    sink = step["attn_sink"]
    result = torch.zeros_like(q)
    for token in range(q.shape[0]):
        named = keys_of(token)
        logits = q[token] @ named.T * step["scale"]
        if sink is not None:
            column = sink[: q.shape[1]].to("cpu", torch.float64)[:, None]
            logits = torch.cat([logits, column], dim=1)
        result[token] = logits.softmax(dim=1)[:, : len(named)] @ named
    return result


def rounding(step: Mapping[str, Any], expected: torch.Tensor, keys_of: KeysOf) -> torch.Tensor:
    """How far a correct result may be from `attention`'s, value by value.

    Keys are exact, so the error comes from the result's rounding to bf16, at most ``2**-8`` of
    the value, and from float32 sums. With ``u = 2**-24``, n terms sum to within ``n*u`` of the
    sum of their sizes. A logit of 512 products is thus off by at most
    ``d = 514*u*scale*max(|q|.|k|)``, which changes a weight by a factor of ``1 +- 2*d``;
    the weighted sum over n keys adds ``2*(n + 8)*u``. Both count against the largest key value.

    Args:
        step: as of `attention`.
        expected: what `attention` gave.
        keys_of: as of `attention`.

    Returns:
        float64 [num_tokens, num_heads, head_dim], on the CPU.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1.
    """
    unit = 2.0**-24
    allowed = expected.abs() * 2.0**-8
    for token in range(expected.shape[0]):
        named = keys_of(token).abs()
        if len(named):
            sizes = step["q"][token].to("cpu", torch.float64).abs() @ named.T
            logit_error = 514 * unit * step["scale"] * sizes.max()
            allowed[token] += (2 * logit_error + 2 * (len(named) + 8) * unit) * named.max() * 1.01
    return allowed
