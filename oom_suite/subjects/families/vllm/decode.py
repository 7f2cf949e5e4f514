"""Calls vLLM's DeepSeek-V4 decode path for ROCm, whichever form the release gives it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Callable

_RAGGED = "_ragged_"


def without_ragged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with None for the parameters of the indices' ragged forms.

    They are an optimization: without them vLLM derives its own.
    """
    parameters = inspect.signature(function).parameters.values()
    ragged = [p.name for p in parameters if _RAGGED in p.name and p.default is p.empty]
    return functools.partial(function, **dict.fromkeys(ragged)) if ragged else function


def two_fp8s(version: str, arch: str) -> str:
    """Why steps with one kind of fp8 are not what a release reads; empty where they are.

    Args:
        version: vLLM's.
        arch: the GPU that it sees.

    Source: vLLM 0.25.0 `v1/attention/ops/rocm_aiter_mla_sparse.py:2189`: from there on the
    compressed cache is e4m3fn everywhere.
    """
    try:
        is_new = Version(version) >= Version("0.25.0")
    except InvalidVersion:  # a checkout without tags, which is new rather than old
        is_new = True
    if arch != "gfx942" or not is_new:
        return ""
    return (
        f"vLLM {version} on gfx942 reads its two caches as different kinds of fp8, and the steps "
        "of a safety check hold one: use a workload of one cache, or --arch gfx950"
    )
