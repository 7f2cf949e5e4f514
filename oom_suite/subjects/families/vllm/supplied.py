"""The real things that the suite puts into vLLM's modules beside the stubs."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from oom_suite.subjects.families.vllm.platform import Platform, rocm_names
from oom_suite.subjects.families.vllm.stubs import Stub
from oom_suite.subjects.families.vllm.triton_placeholder import TritonPlaceholder

if TYPE_CHECKING:
    from oom_suite.subjects.families.vllm.stubs import StubLog

PASS_THROUGH = {"vllm.compilation.breakable_cudagraph": ("eager_break_during_capture",)}
"""Decorators that, outside a graph capture of vLLM's own, do nothing but call the function.

Source: vLLM 0.22.0 `vllm/compilation/breakable_cudagraph.py:59` (returns the function unless
enabled; enabled, calls it when no capture is current); 0.25.0 :59 the same; 0.33.0 :67 (calls
it when no capture is current).
"""


class OnceLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger with vLLM's ``*_once`` methods, which here log every time."""

    def debug_once(self, message: str, *args: object, **kwargs: object) -> None:
        """Nothing; logged at level DEBUG."""
        del kwargs
        self.debug(message, *args)

    def info_once(self, message: str, *args: object, **kwargs: object) -> None:
        """Nothing; logged at level INFO."""
        del kwargs
        self.info(message, *args)

    def warning_once(self, message: str, *args: object, **kwargs: object) -> None:
        """Nothing; logged at level WARNING."""
        del kwargs
        self.warning(message, *args)


def supplied(arch: str, log: StubLog) -> dict[str, dict[str, Any]]:
    """For each of vLLM's modules that is more than stubs, the real names in it.

    Args:
        arch: one of `oom_suite.subjects.families.vllm.platform.ARCHITECTURES`.
        log: where uses of what is missing in them are recorded.

    Raises:
        UsageError: an unknown architecture.
    """
    modules: dict[str, dict[str, Any]] = {
        "vllm.platforms": {"current_platform": Platform(arch, log)},
        "vllm.platforms.rocm": rocm_names(arch),
        "vllm.logger": {"init_logger": init_logger},
        "vllm.triton_utils": _triton(log),
    }
    for module, names in PASS_THROUGH.items():
        modules[module] = dict.fromkeys(names, _itself)
    return modules


def init_logger(name: str) -> OnceLogger:
    """The standard library's logger of that name."""
    return OnceLogger(logging.getLogger(name), {})


def _itself(function: Any) -> Any:
    return function


def _triton(log: StubLog) -> dict[str, Any]:
    try:
        triton: Any = importlib.import_module("triton")
        language: Any = importlib.import_module("triton.language")
    except ImportError:
        triton = TritonPlaceholder(log)
        return {"triton": triton, "tl": Stub("triton.language", log), "HAS_TRITON": False}
    return {"triton": triton, "tl": language, "HAS_TRITON": True}
