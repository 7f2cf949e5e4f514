"""Calls vLLM's paged indexer for ROCm, which chooses among its implementations itself."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from oom_suite.subjects.families.vllm.workspaces import with_own_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_RATIO = 4
"""Tokens that a key of the indexer stands for; what newer releases choose the kernel by."""


def dispatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under the names of the workload, without a schedule: that is for CUDA alone.

    Source: vLLM 0.21.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:347`; 0.33.0 :756.
    """
    takes_ratio = "compress_ratio" in inspect.signature(function).parameters
    more = {"compress_ratio": _RATIO} if takes_ratio else {}

    def call(
        q: torch.Tensor,
        kv_cache: torch.Tensor,
        weights: torch.Tensor,
        context_lens: torch.Tensor,
        block_tables: torch.Tensor,
        max_model_len: int,
    ) -> Any:
        given = (q, kv_cache, weights, context_lens, block_tables, None, max_model_len)
        return function(*given, **more)

    return with_own_workspace(call)
