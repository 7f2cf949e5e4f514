"""The axes' values as a builder gets them: ``sizes.num_tokens`` or ``sizes["num_tokens"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView, Mapping

RESERVED = frozenset({"keys"})
"""Names that no axis can have: ``**sizes`` needs them."""


class Sizes:
    """Values by name, as attributes and as items; ``dict(sizes)`` and ``**sizes`` work too.

    Args:
        values: a value for every axis. In the prove lane they are symbols.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, int]) -> None:
        self._values = dict(values)

    def __getattr__(self, name: str) -> int:
        """The value of an axis."""
        if name.startswith("__") or name == "_values":
            # What copy and pickle ask for, before there are any values.
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise _unknown(name, self._values) from None

    def __getitem__(self, name: str) -> int:
        try:
            return self._values[name]
        except KeyError:
            raise _unknown(name, self._values) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> KeysView[str]:
        """The names; with this a value is a mapping for ``**sizes``."""
        return self._values.keys()

    def __repr__(self) -> str:
        """``Sizes(num_tokens=4)``."""
        return f"Sizes({', '.join(f'{name}={value}' for name, value in self._values.items())})"


def _unknown(name: str, values: Mapping[str, int]) -> UsageError:
    if not values:
        return UsageError(f"unknown axis {name!r}: there is none")
    return unknown("axis", name, values)
