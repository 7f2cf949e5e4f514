"""How small records travel between processes: a trace has thousands of them."""

from __future__ import annotations

import functools
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class PickledByFields:
    """A frozen dataclass with slots that is pickled as its class and its fields, in order.

    Left to itself it would be pickled by name, in Python, and its fields looked up each time:
    that takes four times as long (``benchmarks/bench_pickling.py``).
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """The class, and what it is made of."""
        kind: Any = type(self)
        return kind, _fields_of(kind)(self)


@functools.cache
def _fields_of(kind: Any) -> Callable[[object], tuple[Any, ...]]:
    return attrgetter(*(each.name for each in fields(kind)))
