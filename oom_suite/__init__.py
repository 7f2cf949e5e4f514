"""Memory-safety and OOM regression suite for the tensor code that serves large language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oom_suite.operators.registered import register_scratch
    from oom_suite.pipeline.law_tests import memory_law
    from oom_suite.pipeline.predicting import Prediction, predict
    from oom_suite.pipeline.sized_law import SizedLaw, law

__all__ = ["Prediction", "SizedLaw", "law", "memory_law", "predict", "register_scratch"]

_HOMES = {
    "Prediction": "oom_suite.pipeline.predicting",
    "SizedLaw": "oom_suite.pipeline.sized_law",
    "law": "oom_suite.pipeline.sized_law",
    "memory_law": "oom_suite.pipeline.law_tests",
    "predict": "oom_suite.pipeline.predicting",
    "register_scratch": "oom_suite.operators.registered",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    """The public names, each imported when it is first asked for."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion in a notebook."""
    return sorted({*globals(), *__all__})
