"""Memory-safety and OOM regression suite for the tensor code that serves large language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oom_suite.operators.registered import register_scratch
    from oom_suite.pipeline.law_tests import memory_law

__all__ = ["memory_law", "register_scratch"]


def __getattr__(name: str) -> Any:
    """The public names, each imported when it is first asked for."""
    if name == "memory_law":
        from oom_suite.pipeline.law_tests import memory_law

        return memory_law
    if name == "register_scratch":
        from oom_suite.operators.registered import register_scratch

        return register_scratch
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
