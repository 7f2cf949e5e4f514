"""Attention over keys that come in parts, with a running softmax."""

from __future__ import annotations

import torch


class RunningAttention:
    """Softmax attention of [num_tokens, num_heads] queries over keys added part by part.

    Holds the largest logit, the sum of the exponentials and the weighted values so far, so
    that no part is needed twice. Keys are also the values, as in multi-head latent attention.

    Source: Milakov and Gimelshein, arXiv 1805.02867, algorithm 3.
    """

    def __init__(self, q: torch.Tensor, scale: float) -> None:
        """Begin with no key.

        Args:
            q: floating [num_tokens, num_heads, head_dim].
            scale: factor of the logits.
        """
        self._q = q.to(torch.float32).mul_(scale) if q.dtype != torch.float32 else q * scale
        heads = self._q.shape[:2]
        self._largest = self._q.new_full(heads, -torch.inf)
        self._sum = self._q.new_zeros(heads)
        self._weighted = torch.zeros_like(self._q)

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        """Attend to one more part.

        Args:
            keys: float32 [num_tokens, num_keys, head_dim]; those that do not count are zeroed
                in place, for a weight of zero would not remove a NaN.
            counts: bool [num_tokens, num_keys].
        """
        ignored = counts.logical_not()
        keys.masked_fill_(ignored.unsqueeze(-1), 0.0)
        logits = torch.bmm(self._q, keys.transpose(1, 2))
        logits.masked_fill_(ignored.unsqueeze(1), -torch.inf)
        largest = torch.maximum(self._largest, logits.amax(dim=-1))
        finite = self._finite(largest)
        weights = logits.sub_(finite.unsqueeze(-1)).exp_()
        keep = self._largest.sub_(finite).exp_()
        self._sum.mul_(keep).add_(weights.sum(dim=-1))
        self._weighted.mul_(keep.unsqueeze(-1)).baddbmm_(weights, keys)
        self._largest = largest

    def finish(self, attn_sink: torch.Tensor | None, output: torch.Tensor) -> None:
        """Write the result; tokens for which no key counted get zeros.

        Args:
            attn_sink: float32 [at least num_heads], or None.
            output: floating [num_tokens, num_heads, head_dim], written.
        """
        total = self._sum
        if attn_sink is not None:
            sink = attn_sink[: total.shape[1]]
            total = total + (sink - self._finite(self._largest)).exp_()
        # Without any key the weighted sum is zero, and zero over one is the zero wanted.
        total = total.masked_fill(self._sum == 0, 1.0)
        output.copy_(self._weighted.div_(total.unsqueeze(-1)))

    @staticmethod
    def _finite(largest: torch.Tensor) -> torch.Tensor:
        """The largest logits, zero where no key counted yet: inf - inf would be NaN."""
        return largest.masked_fill(largest == -torch.inf, 0.0)
