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

    def run(kernel: Any, *args: object, **kwargs: object) -> _Compiled | None:
        name = _kernel_name(kernel)
        # A warm-up only compiles.
        if kwargs.get("warmup", False):
            return _Compiled(lambda *given: on_launch(name, list(given)))
        on_launch(name, [*args, *kwargs.values()])
        return None

    with contextlib.ExitStack() as patches:
        for launcher in _launchers():
            patches.enter_context(mock.patch.object(launcher, "run", run))
        yield


class _Compiled:
    """What a warm-up gives in place of a compiled kernel, by which it can be launched too.

    Args:
        launch: called with the arguments of a launch.

    Attributes:
        packed_metadata: its warps, programs of a cluster and bytes of shared memory; of none here.
    """

    def __init__(self, launch: Callable[..., None]) -> None:
        self._launch = launch
        self.packed_metadata: tuple[int, ...] = (1, 1, 0)

    def __getitem__(self, grid: object) -> Callable[..., None]:
        """What launches it, on any grid."""
        return self._launch


def _launchers() -> list[type]:
    """The classes whose ``run`` launches; what wraps them in `Heuristics` ends in theirs."""
    try:
        from triton.runtime.autotuner import Autotuner
        from triton.runtime.jit import JITFunction
    except ImportError:
        return []
    found: list[type] = [JITFunction, Autotuner]
    # What TRITON_INTERPRET=1 makes of a kernel would run it, on the host and on fake tensors.
    with contextlib.suppress(ImportError, AttributeError):
        from triton.runtime.interpreter import InterpretedFunction

        if hasattr(InterpretedFunction, "run"):
            found.append(InterpretedFunction)
    return found


def _kernel_name(kernel: Any) -> str:
    """The name of the Python function at the bottom of Triton's wrappers."""
    while hasattr(kernel, "fn"):
        kernel = kernel.fn
    return str(getattr(kernel, "__name__", kernel))
