"""`next_power_of_2` of a symbolic size, as one named size instead of a page of shifts."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oom_suite.lanes.prove.symbols import Symbols

_NAME = "next_power_of_2"
_OWNERS = ("triton", "triton.runtime", "vllm.triton_utils")


@contextlib.contextmanager
def symbolic_powers(symbols: Symbols) -> Iterator[None]:
    """While active, Triton's ``next_power_of_2`` of a symbolic size is a size with that name."""
    with contextlib.ExitStack() as patches:
        for name in _OWNERS:
            module = sys.modules.get(name)
            for owner in (module, getattr(module, "triton", None)):
                original = getattr(owner, _NAME, None)
                if callable(original):
                    kept = _kept(original, symbols)
                    patches.enter_context(mock.patch.object(owner, _NAME, kept))
        yield


def _kept(original: Callable[[Any], Any], symbols: Symbols) -> Callable[[Any], Any]:
    def next_power_of_2(number: Any) -> Any:
        is_size = isinstance(number, torch.SymInt) and number.node.hint is not None
        if not is_size:
            return original(number)
        return symbols.function_of(_NAME, number, original(number.node.hint))

    return next_power_of_2
