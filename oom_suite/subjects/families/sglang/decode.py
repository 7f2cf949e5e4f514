"""Calls sglang's sparse attention for HIP, a decode step over one cache or two, in torch alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from oom_suite.subjects.loading import Given


def fp8_kernel(given: Given) -> dict[str, Any]:
    """The one name that the file reads of `sglang.kernels.ops.quantization.fp8_kernel`."""
    return {"is_fp8_fnuz": lambda: given.arch == "gfx942"}


def flash_mla(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under the names of a decode step; a token is a request with one query.

    Source: sglang 0.5.23 `sglang/srt/layers/attention/hip_flash_mla.py:246`,
    `flash_mla_with_kvcache_torch`.
    """

    def call(
        q: torch.Tensor,
        kv_cache: torch.Tensor | None,
        swa_k_cache: torch.Tensor,
        swa_only: bool,
        topk_indices: torch.Tensor | None,
        topk_lens: torch.Tensor | None,
        swa_indices: torch.Tensor,
        swa_lens: torch.Tensor,
        attn_sink: torch.Tensor,
        scale: float,
        head_dim: int,
        nope_head_dim: int,
        rope_head_dim: int,
        output: torch.Tensor,
    ) -> None:
        del nope_head_dim, rope_head_dim
        num_tokens = q.shape[0]
        more: dict[str, Any] = {}
        if not swa_only:
            assert kv_cache is not None
            assert topk_indices is not None
            more = {
                "extra_k_cache": kv_cache.unsqueeze(2),
                "extra_indices_in_kvcache": topk_indices.view(num_tokens, 1, -1),
                "extra_topk_length": topk_lens,
            }
        found, _ = function(
            q=q.unsqueeze(1),
            k_cache=swa_k_cache.unsqueeze(2),
            block_table=None,
            cache_seqlens=None,
            head_dim_v=head_dim,
            tile_scheduler_metadata=None,
            softmax_scale=scale,
            is_fp8_kvcache=True,
            indices=swa_indices.view(num_tokens, 1, -1),
            topk_length=swa_lens,
            attn_sink=attn_sink,
            **more,
        )
        output.copy_(found.squeeze(1))

    return call
