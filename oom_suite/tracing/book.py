"""What one memory was asked for in one recording, and when it was given back."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from oom_suite.records import Allocation, Event, Trace
from oom_suite.torch_compat.dispatch import storage_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from oom_suite.records import Frame

NOT_RECORDED = -1
"""The request of a storage that was there before the recording, or that nobody asked for in it."""


class Book:
    """The requests and frees of one memory: a device's, the host's, or pinned host memory.

    The death of a storage, told by a weak reference, is its free.

    Attributes:
        requests: bytes, operator, stack of every request, and True where it is a bound. Plain
            tuples: making records costs more than all else that a request takes.
        events: ``("alloc", request)`` and ``("free", request)``, in order.
        input_bytes: bytes of the storages that were there when the recording began.
        is_open: whether requests and frees are written down.
    """

    def __init__(self) -> None:
        """Know of no storage yet."""
        self.requests: list[tuple[Any, ...]] = []
        self.events: list[tuple[str, int]] = []
        self.input_bytes = 0
        self.is_open = False
        self._storages: dict[int, tuple[weakref.ref[Any], int, Any]] = {}

    def begin(self) -> None:
        """Write down what comes; what is there by now is input."""
        self.input_bytes = sum(num_bytes for _, _, num_bytes in self._storages.values())
        self.is_open = True

    def end(self) -> None:
        """Write nothing down any more."""
        self.is_open = False

    @property
    def has_live(self) -> bool:
        """Whether a request has not been freed."""
        return len(self.events) < 2 * len(self.requests)

    def find(self, key: int) -> tuple[int, Any] | None:
        """The request of a known storage and its bytes; None for one that was not seen."""
        known = self._storages.get(key)
        return None if known is None else known[1:]

    def request(
        self, num_bytes: Any, op: str, stack: tuple[Frame, ...], *, is_bound: bool = False
    ) -> int:
        """The number of a request that is made now."""
        number = len(self.requests)
        self.requests.append((num_bytes, op, stack, True) if is_bound else (num_bytes, op, stack))
        self.events.append(("alloc", number))
        return number

    def give_back(self, number: int) -> None:
        """Free a request now."""
        if self.is_open and number != NOT_RECORDED:
            self.events.append(("free", number))

    def forget(self, key: int) -> None:
        """Free what a storage had, which lives on with another block."""
        _, number, _ = self._storages.pop(key)
        self.give_back(number)

    def keep(self, storage: torch.UntypedStorage, number: int, num_bytes: Any) -> None:
        """Know a storage from now on, and see its end.

        Args:
            storage: the storage.
            number: its request, or `NOT_RECORDED`.
            num_bytes: its bytes; an expression where sizes are symbols.
        """
        key = storage_key(storage)
        self._storages[key] = (weakref.ref(storage, self._died(key)), number, num_bytes)

    def trace(self, lane: str, sizes: Mapping[str, int]) -> Trace:
        """What was written down, as a record."""
        return Trace(
            lane=lane,
            sizes=dict(sizes),
            allocations=tuple(Allocation(*request) for request in self.requests),
            events=tuple(Event(*event) for event in self.events),
            input_bytes=self.input_bytes,
        )

    def _died(self, key: int) -> Callable[[weakref.ref[Any]], None]:
        storages = self._storages

        def died(reference: weakref.ref[Any]) -> None:
            entry = storages.get(key)
            if entry is not None and entry[0] is reference:
                del storages[key]
                self.give_back(entry[1])

        return died
