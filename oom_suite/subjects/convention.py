"""How a decode subject is called: fourteen keywords, the same for every subject."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from oom_suite.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable

DECODE_KEYWORDS = (
    "q",
    "kv_cache",
    "swa_k_cache",
    "swa_only",
    "topk_indices",
    "topk_lens",
    "swa_indices",
    "swa_lens",
    "attn_sink",
    "scale",
    "head_dim",
    "nope_head_dim",
    "rope_head_dim",
    "output",
)
"""What a decode step is called with, always by keyword.

Source: vLLM 0.21.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:1086`.
"""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


def required_extras(function: Callable[..., object], name: str) -> tuple[str, ...]:
    """The parameters without a default that a call with the fourteen keywords leaves out.

    Args:
        function: the decode function.
        name: what the user calls it, for the message.

    Raises:
        SubjectError: it does not take one of the fourteen by keyword, or has no signature.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        msg = (
            f"{name} has no signature that Python can read: wrap it in a def that takes "
            f"{', '.join(DECODE_KEYWORDS)}"
        )
        raise SubjectError(msg) from error
    keywords = {p.name for p in parameters if p.kind not in _POSITIONAL}
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    missing = [k for k in DECODE_KEYWORDS if k not in keywords]
    if missing and not takes_any:
        msg = (
            f"{name} does not take {_listed(missing)} by keyword: a decode subject takes "
            f"{', '.join(DECODE_KEYWORDS)} (or **kwargs)"
        )
        raise SubjectError(msg)
    return tuple(
        p.name
        for p in parameters
        if p.default is inspect.Parameter.empty
        and p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        and (p.name not in DECODE_KEYWORDS or p.kind is inspect.Parameter.POSITIONAL_ONLY)
    )


def require_convention(function: Callable[..., object], name: str) -> None:
    """Nothing; a return means that the fourteen keywords are a complete call of the function.

    Args:
        function: the decode function.
        name: what the user calls it, for the message.

    Raises:
        SubjectError: a keyword is not taken, or another parameter is required.
    """
    extras = required_extras(function, name)
    if extras:
        msg = (
            f"{name} requires {_listed(extras)}, which a decode subject is not given: "
            f"give a default, or take only {', '.join(DECODE_KEYWORDS)}"
        )
        raise SubjectError(msg)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
