"""Calls vLLM's DeepSeek-V4 decode path for ROCm, whichever form the release gives it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_RAGGED = "_ragged_"


def without_ragged(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function with None for the parameters of the indices' ragged forms.

    They are an optimization: without them vLLM derives its own.

    Args:
        function: a decode entry.
        name: what messages call it.
    """
    del name
    parameters = inspect.signature(function).parameters.values()
    ragged = [p.name for p in parameters if _RAGGED in p.name and p.default is p.empty]
    return functools.partial(function, **dict.fromkeys(ragged)) if ragged else function
