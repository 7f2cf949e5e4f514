"""Calls the prefill of vLLM's DeepSeek-V4 attention, a method of a layer, for its workspace."""

from __future__ import annotations

import importlib
import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.subjects.families.vllm.workspaces import with_own_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_SIZE = 4
"""Requests that are prefilled at once.

Source: `PREFILL_CHUNK_SIZE`, vLLM 0.21.0 `deepseek_v4_attention.py:89`; 0.33.0
`vllm/models/deepseek_v4/attention.py:156`.
"""
_ALIGNMENT = 128
_PLANS = "v1.attention.backends.mla.sparse_swa"


def workspace_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method on a layer with the workload's numbers, whose kernels take nothing of their own.

    The gather and attention write into what they are given; the indices of the window and of the
    top-k are put together in a tensor as vLLM makes it. What is left is what the method keeps.

    Args:
        function: ``_forward_prefill``: bound to its class in releases that pass the layer.

    Source: vLLM 0.22.0 `vllm/models/deepseek_v4/nvidia/flashmla.py:305` (a method of the class);
    0.33.0 :266.
    """
    module = inspect.unwrap(function).__globals__
    module |= {
        "dequantize_and_gather_k_cache": _takes_nothing,
        "combine_topk_swa_indices": combined_indices,
        "flash_mla_sparse_fwd": _attended,
        "rocm_sparse_attn_prefill": _attended,
    }
    _complete_owner(function)

    def call(**given: Any) -> None:
        attention, window = _metadata(given, module["__name__"].partition(".")[0])
        function(
            _Layer(given),
            q=given["q"],
            positions=None,
            compressed_k_cache=given["compressed_k_cache"],
            swa_k_cache=given["swa_k_cache"],
            output=given["output"],
            attn_metadata=attention,
            swa_metadata=window,
        )

    return with_own_workspace(call)


def reservation_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """The step's method in a profile run, which has no metadata and reserves what prefills take.

    Args:
        function: ``forward_mqa``, as of `workspace_alone`.

    Source: vLLM 0.22.0 `vllm/models/deepseek_v4/nvidia/flashmla.py:131`; 0.33.0 :87.
    """
    module = inspect.unwrap(function).__globals__
    module["get_forward_context"] = lambda: SimpleNamespace(attn_metadata=None)
    _complete_owner(function)

    def call(**given: Any) -> None:
        function(_Layer(given), q=given["q"], kv=None, positions=None, output=given["output"])

    return with_own_workspace(call)


def _complete_owner(function: Callable[..., Any]) -> None:
    """Nothing; a class that the method is bound to knows how many requests it takes at once."""
    owner = getattr(function, "__self__", None)
    if owner is not None and not hasattr(owner, "PREFILL_CHUNK_SIZE"):
        owner.PREFILL_CHUNK_SIZE = _CHUNK_SIZE  # its base, which says so, is a stub


class _Layer:
    """What the method reads of its layer."""

    PREFILL_CHUNK_SIZE = _CHUNK_SIZE
    max_image_tokens = 0
    head_dim, nope_head_dim, rope_head_dim = 512, 448, 64
    scale = 512**-0.5
    _use_aiter_sparse_mla = False

    def __init__(self, given: dict[str, Any]) -> None:
        self.compress_ratio = given["compress_ratio"]
        self.window_size = given["window_size"]
        self.max_model_len = given["max_model_len"]
        self.max_num_batched_tokens = given["max_num_batched_tokens"]
        self.attn_sink = given["attn_sink"]
        self.topk_indices_buffer = given["topk_indices"]


def _metadata(given: dict[str, Any], package: str) -> tuple[SimpleNamespace, SimpleNamespace]:
    """The metadata of the compressed cache and that of the window, no request decoding."""
    num_prefills = len(given["seq_lens"])
    attention = SimpleNamespace(
        block_table=given["block_table"], block_size=given["swa_k_cache"].shape[1]
    )
    window = SimpleNamespace(
        block_table=given["block_table"],
        block_size=given["swa_k_cache"].shape[1],
        num_prefills=num_prefills,
        num_prefill_tokens=given["q"].shape[0],
        num_decodes=0,
        num_decode_tokens=0,
        query_start_loc=given["query_start_loc"],
        query_start_loc_cpu=given["query_start_loc_cpu"],
        prefill_seq_lens=given["seq_lens"],
        prefill_seq_lens_cpu=given["seq_lens_cpu"],
        prefill_gather_lens=given["gather_lens"],
        prefill_gather_lens_cpu=given["gather_lens_cpu"],
        prefill_query_lens_cpu=given["query_lens_cpu"],
        prefill_left_visible=None,
        prefill_right_visible=None,
        prefill_window_size=given["window_size"],
        prefill_max_model_len=given["max_model_len"],
        prefill_max_num_batched_tokens=given["max_num_batched_tokens"],
    )
    released = importlib.import_module(f"{package}.{_PLANS}").DeepseekSparseSWAMetadata
    plan = getattr(released, "get_prefill_chunk_plan", None)
    if plan is not None:
        window.get_prefill_chunk_plan = plan.__get__(window)
    return attention, window


def combined_indices(
    topk_indices: torch.Tensor,
    *counts: Any,
    out: tuple[torch.Tensor, torch.Tensor] | None = None,
    **more: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Room for the indices of each query, and for how many there are.

    Source: vLLM 0.33.0 `vllm/models/deepseek_v4/common/ops/cache_utils.py`,
    `combine_topk_swa_indices`: int32, the window and the top-k together in whole 128s.
    """
    del more
    if out is not None:
        return out
    window_size, _, topk = counts[3:6]
    width = -(-(topk + window_size) // _ALIGNMENT) * _ALIGNMENT
    num_tokens, device = topk_indices.shape[0], topk_indices.device
    indices = torch.full((num_tokens, width), -1, dtype=torch.int32, device=device)
    return indices, torch.empty(num_tokens, dtype=torch.int32, device=device)


def _takes_nothing(*given: Any, **keywords: Any) -> None:
    """In place of a kernel that writes into what it is given."""


def _attended(
    *, out: torch.Tensor | None = None, output: torch.Tensor | None = None, **keywords: Any
) -> tuple[torch.Tensor | None, None, None]:
    """In place of attention, which writes all of its output and gives two statistics beside."""
    del keywords
    written = output if out is None else out
    if written is not None:
        written.zero_()
    return written, None, None
