"""A dispatch mode whose errors come out of a backward pass on the device without memory."""

from __future__ import annotations

import abc
import sys
from typing import TYPE_CHECKING, Any

from oom_suite.operators.operands import DEVICE_QUERY
from oom_suite.torch_compat.dispatch import DispatchMode, is_backward_pass
from oom_suite.torch_compat.fakes import device_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

_NO_RESULT = object()


class BackwardMode(DispatchMode):
    """Keeps what an operator raises in a backward pass until the mode is left.

    Code that catches it does not go on as it would on a GPU, where there is a kernel.

    Args:
        device_type: the type of the device whose operators the mode sees.
    """

    def __init__(self, device_type: str) -> None:
        """Nothing was raised yet."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._device_type = device_type
        self._failure: Exception | None = None

    def __exit__(self, *error: Any) -> None:
        """Stop looking; what was raised in a backward pass is raised here."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch does not annotate it
        if self._failure is not None:
            raise self._failure

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What `_in_turn` gives."""
        if func is DEVICE_QUERY:
            return device_of(args[0])
        try:
            return self._in_turn(func, types, args, kwargs or {})
        except Exception as error:
            if self._device_type == "cpu" or not is_backward_pass(sys._getframe(1)):
                raise
            self._failure = self._failure or error
            return _NO_RESULT

    @abc.abstractmethod
    def _in_turn(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Run an operator."""
