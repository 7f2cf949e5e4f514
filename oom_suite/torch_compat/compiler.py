"""Who enters a function that was given to ``torch.compile``."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

from oom_suite.torch_compat.probes import Name, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MODULE = "torch._dynamo.eval_frame"
_WRAPPER = "compile_wrapper"

NAMES = (
    Name(
        f"{_MODULE}:_callback_from_stance",
        positional=1,
        asked_by=f"{_MODULE}:_TorchDynamoContext.__call__.{_WRAPPER}",
    ),
)
"""The names of torch behind this module."""


@functools.cache
def require_compiler() -> None:
    """Look for this module's names, which imports torch's compiler: a second, once in a process.

    Raises:
        TorchChangedError: one of them is missing, or nobody asks for it any more.
    """
    require("the shadow and prove lanes need", NAMES)


@contextlib.contextmanager
def compiled_calls_noted(note: Callable[[], None]) -> Iterator[None]:
    """While active, `note` is called each time a compiled function is entered.

    It asks for the stance then. Where torch's compiler is not imported yet, nothing is compiled.

    Raises:
        TorchChangedError: as in `require_compiler`.
    """
    frames: Any = sys.modules.get(_MODULE)
    if frames is None:
        yield
        return
    require_compiler()
    original = frames._callback_from_stance

    def noting(callback: object) -> Any:
        # Those who switch the compiler off ask too, on entering and on leaving.
        if callable(callback) and sys._getframe(1).f_code.co_name == _WRAPPER:
            note()
        return original(callback)

    with mock.patch.object(frames, "_callback_from_stance", noting):
        yield
