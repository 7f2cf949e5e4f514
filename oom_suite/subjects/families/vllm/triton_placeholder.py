"""Stands in for Triton where it is not installed: kernels exist by name, and launches are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oom_suite.subjects.stubs import Stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.subjects.stubs import StubLog

    LaunchHook = Callable[[str, list[object]], None]

_on_launch: LaunchHook | None = None


def set_on_launch(hook: LaunchHook | None) -> LaunchHook | None:
    """The hook that was set before; from now on launches call this one.

    Args:
        hook: called with the kernel's name and its arguments' values at each launch, which does
            nothing else; None makes launches errors.
    """
    global _on_launch
    before, _on_launch = _on_launch, hook
    return before


class Kernel:
    """A function under `triton.jit`, which cannot run here."""

    def __init__(self, fn: Callable[..., Any], log: StubLog) -> None:
        """Remember the function: its name is all that a launch tells."""
        self.fn = fn
        self.__name__ = getattr(fn, "__name__", str(fn))
        self._log = log

    def __getitem__(self, grid: object) -> Callable[..., None]:
        """The launcher for a grid, as in ``kernel[grid](...)``."""
        return self.run

    def run(self, *args: object, **kwargs: object) -> None:
        """Nothing; the hook is given the launch.

        Raises:
            StubUsedError: no hook is set.
        """
        if _on_launch is None:
            self._log.refuse(f"triton.jit({self.__name__})")
        _on_launch(self.__name__, [*args, *kwargs.values()])

    def __call__(self, *args: object, **kwargs: object) -> None:
        """Refused: a kernel is launched on a grid.

        Raises:
            StubUsedError: always.
        """
        self._log.refuse(f"triton.jit({self.__name__})")


class TritonPlaceholder:
    """The part of the `triton` module that vLLM's host code and decorators use."""

    def __init__(self, log: StubLog) -> None:
        """Remember the log; names that are not here become stubs."""
        self._log = log

    def jit(self, fn: Callable[..., Any] | None = None, **options: object) -> Any:
        """A kernel, from ``@triton.jit`` and from ``@triton.jit(...)``."""
        return self._decorated if fn is None else self._decorated(fn)

    def autotune(self, *args: object, **options: object) -> Any:
        """A decorator that gives the kernel itself."""
        return self._decorated

    heuristics = autotune

    def cdiv(self, x: int, y: int) -> int:
        """The quotient, rounded up."""
        return -(-x // y)

    def next_power_of_2(self, n: int) -> int:
        """The smallest power of two that is no less than n; 1 for n below 1.

        Source: vLLM 0.21.0 `vllm/utils/math_utils.py`; Triton's own agrees from 1 on.
        """
        return 1 if n < 1 else 1 << (n - 1).bit_length()

    def __getattr__(self, attribute: str) -> Any:
        """Everything else, `language` too, as a stub."""
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(Stub("triton", self._log), attribute)

    def _decorated(self, fn: Any) -> Kernel:
        return fn if isinstance(fn, Kernel) else Kernel(fn, self._log)
