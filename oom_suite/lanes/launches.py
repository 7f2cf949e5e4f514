"""Makes Triton launches no-ops that are recorded by name: a launch allocates nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def recorded_launches(on_launch: Callable[[str, list[object]], None]) -> Iterator[None]:
    """While active, a Triton kernel launch calls `on_launch(kernel, arguments)` and runs nothing.

    Without Triton installed there is nothing to intercept, and nothing is done.
    """
    try:
        from triton.runtime.autotuner import Autotuner  # noqa: PLC0415 - Triton is optional
        from triton.runtime.jit import JITFunction  # noqa: PLC0415
    except ImportError:
        yield
        return

    def run(kernel: Any, *args: object, **kwargs: object) -> None:  # noqa: ANN401 - Triton's own
        on_launch(_kernel_name(kernel), [*args, *kwargs.values()])

    with mock.patch.object(JITFunction, "run", run), mock.patch.object(Autotuner, "run", run):
        yield


def _kernel_name(kernel: Any) -> str:  # noqa: ANN401 - JITFunction, Autotuner or Heuristics
    """The name of the Python function at the bottom of Triton's wrappers."""
    while hasattr(kernel, "fn"):
        kernel = kernel.fn
    return str(getattr(kernel, "__name__", kernel))
