"""Calls vLLM's attention of DeepSeek-V4 on a CPU, a method of a layer, for what it makes itself."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def on_a_layer(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method on a layer with the workload's numbers; its kernel writes the output it is given.

    Args:
        function: ``forward_mqa``.

    Source: vLLM 0.33.0 `vllm/models/deepseek_v4/cpu/cpu_sparse.py:554`; 0.30.0 the same.
    """
    module = inspect.unwrap(function).__globals__
    current: dict[str, Any] = {}
    module["torch"] = TorchWithKernel()
    module["DeepseekV4FlashMLAMetadata"] = SimpleNamespace
    module["get_forward_context"] = lambda: SimpleNamespace(attn_metadata=current["metadata"])

    def call(**given: Any) -> None:
        current["metadata"] = _metadata(given)
        function(
            _layer(given),
            q=given["q"],
            kv=None,
            positions=given["positions"],
            output=given["output"],
        )

    return call


def _attended(output: torch.Tensor, *others: Any) -> None:
    del others
    output.zero_()


class TorchWithKernel:
    """torch, with vLLM's kernel for a CPU among its operators: it writes its output and no more."""

    ops = SimpleNamespace(_C=SimpleNamespace(flash_mla_with_kvcache_cpu=_attended))

    def __getattr__(self, attribute: str) -> Any:
        """All else is torch's."""
        return getattr(torch, attribute)


def _layer(given: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(
        prefix="layer",
        swa_cache_layer=SimpleNamespace(prefix="window", kv_cache=given["swa_k_cache"]),
        kv_cache=given["compressed_k_cache"],
        compress_ratio=given["compress_ratio"],
        window_size=given["window_size"],
        max_model_len=given["max_model_len"],
        attn_sink=given["attn_sink"],
        scale=512**-0.5,
        topk_indices_buffer=None,
    )


def _metadata(given: dict[str, Any]) -> dict[str, SimpleNamespace]:
    """What the step's metadata say of the window's cache, and of the compressed one."""
    pages = {
        "block_table": given["block_table"],
        "block_size": given["swa_k_cache"].shape[1],
    }
    window = SimpleNamespace(token_to_req_indices=given["token_to_request"], **pages)
    return {"window": window, "layer": SimpleNamespace(**pages)}
