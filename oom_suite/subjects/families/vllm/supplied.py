"""The real things that the suite puts into vLLM's modules beside the stubs."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from oom_suite.subjects.families.vllm.platform import Platform, rocm_names
from oom_suite.subjects.families.vllm.triton_placeholder import TritonPlaceholder

if TYPE_CHECKING:
    from oom_suite.subjects.loading import Given


def platforms(given: Given) -> dict[str, Any]:
    """The platform.

    Raises:
        UsageError: an unknown architecture.
    """
    return {"current_platform": Platform(given)}


def rocm(given: Given) -> dict[str, Any]:
    """What the architecture decides."""
    return rocm_names(given.arch)


def logger(_: Given) -> dict[str, Any]:
    """The logging of vLLM."""
    return {"init_logger": init_logger}


def triton_utils(given: Given) -> dict[str, Any]:
    """Triton where it is installed, else a placeholder."""
    try:
        triton: Any = importlib.import_module("triton")
        language: Any = importlib.import_module("triton.language")
    except ImportError:
        triton = TritonPlaceholder(given.log)
        return {"triton": triton, "tl": given.stub("triton.language"), "HAS_TRITON": False}
    return {"triton": triton, "tl": language, "HAS_TRITON": True}


def breakable_cudagraph(_: Given) -> dict[str, Any]:
    """A decorator that, outside a graph capture of vLLM's own, only calls the function.

    Source: vLLM 0.22.0 `vllm/compilation/breakable_cudagraph.py:59` (returns the function unless
    enabled; enabled, calls it when no capture is current); 0.25.0 :59 the same; 0.33.0 :67 (calls
    it when no capture is current).
    """
    return {"eager_break_during_capture": _itself}


def aiter_ops(_: Given) -> dict[str, Any]:
    """AITER's switches, all off: it is not installed, so no release would take it."""
    return {"rocm_aiter_ops": NoAiter()}


class NoAiter:
    """What vLLM asks before it takes a kernel of AITER.

    Source: vLLM 0.21.0 `vllm/_aiter_ops.py:1260`; every switch is false without the package.
    """

    def __getattr__(self, attribute: str) -> Any:
        """A switch; anything else is missing, as the package is."""
        if attribute.startswith("is_") and attribute.endswith("enabled"):
            return lambda: False
        raise AttributeError(attribute)


class OnceLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger with vLLM's ``*_once`` methods, which here log every time."""

    def debug_once(self, message: str, *args: object, **kwargs: object) -> None:
        """Nothing; logged at level DEBUG."""
        self.debug(message, *args)

    def info_once(self, message: str, *args: object, **kwargs: object) -> None:
        """Nothing; logged at level INFO."""
        self.info(message, *args)

    def warning_once(self, message: str, *args: object, **kwargs: object) -> None:
        """Nothing; logged at level WARNING."""
        self.warning(message, *args)


def init_logger(name: str) -> OnceLogger:
    """The standard library's logger of that name."""
    return OnceLogger(logging.getLogger(name), {})


def _itself(function: Any) -> Any:
    return function
