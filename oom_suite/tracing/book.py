"""What one memory was asked for in one recording, and when it was given back."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.records import Allocation, Event, Trace
from oom_suite.records.kept import DEVICE, HOST, PINNED
from oom_suite.torch_compat.dispatch import storage_key
from oom_suite.torch_compat.fakes import device_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.records import Frame

CPU = "cpu"
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
        marks: how many events there were at each mark.
        live_bytes: what was requested and not freed, at each mark.
        requests_at_marks: how many requests there were at each.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[Any, ...]] = []
        self.events: list[tuple[str, int]] = []
        self.input_bytes = 0
        self.is_open = False
        self.marks: list[int] = []
        self.live_bytes: list[int] = []
        self.requests_at_marks: list[int] = []
        self._storages: dict[int, tuple[weakref.ref[Any], int, Any]] = {}

    def begin(self) -> None:
        """Take what is there by now for input."""
        self.input_bytes = sum(num_bytes for _, _, num_bytes in self._storages.values())

    @property
    def has_live(self) -> bool:
        """Whether a request has not been freed."""
        return len(self.events) < 2 * len(self.requests)

    def mark(self) -> None:
        """Note that a step of the call ends here."""
        start = self.marks[-1] if self.marks else 0
        live_bytes = self.live_bytes[-1] if self.live_bytes else 0
        for kind, number in self.events[start:]:
            live_bytes += self.requests[number][0] * (1 if kind == "alloc" else -1)
        self.marks.append(len(self.events))
        self.live_bytes.append(live_bytes)
        self.requests_at_marks.append(len(self.requests))

    def alive(self) -> list[tuple[int, int]]:
        """Key and request of every storage that was requested and lives, in order of requests."""
        kept = ((key, number) for key, (_, number, _) in self._storages.items())
        return sorted((each for each in kept if each[1] != NOT_RECORDED), key=lambda each: each[1])

    def find(self, key: int) -> tuple[int, Any] | None:
        """The request of a known storage and its bytes; None for one that was not seen."""
        known = self._storages.get(key)
        return None if known is None else known[1:]

    def request(self, num_bytes: Any, op: str, stack: tuple[Frame, ...], *of_kernel: Any) -> int:
        """The number of a request that is made now.

        Args:
            num_bytes: the request; an expression where sizes are symbols.
            op: who asks.
            stack: the lines, innermost first.
            of_kernel: the further fields of an `Allocation` that a kernel makes.
        """
        number = len(self.requests)
        self.requests.append((num_bytes, op, stack, *of_kernel))
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
        """Know a storage from now on, and see its end."""
        key = storage_key(storage)
        self._storages[key] = (weakref.ref(storage, self._died(key)), number, num_bytes)

    def trace(self, lane: str, sizes: Mapping[str, int]) -> Trace:
        """What was written down, as a record. Equal stacks are one object."""
        stacks: dict[tuple[int, ...], tuple[Frame, ...]] = {}
        return Trace(
            lane=lane,
            sizes=dict(sizes),
            allocations=tuple(
                Allocation(size, op, stacks.setdefault(tuple(map(id, stack)), stack), *rest)
                for size, op, stack, *rest in self.requests
            ),
            events=tuple(Event(*event) for event in self.events),
            input_bytes=self.input_bytes,
            marks=tuple(self.marks),
        )

    def _died(self, key: int) -> Callable[[weakref.ref[Any]], None]:
        storages = self._storages

        def died(reference: weakref.ref[Any]) -> None:
            entry = storages.get(key)
            if entry is not None and entry[0] is reference:
                del storages[key]
                self.give_back(entry[1])

        return died


class Books:
    """The books of all memories that one recording looks at.

    Args:
        device_type: the type of the device. Where that is the CPU itself, all that the host has is
            the device's.

    Attributes:
        num_operators: how many operators ran while requests were written down.
    """

    def __init__(self, device_type: str) -> None:
        self.num_operators = 0
        self._device_type = device_type
        self.device = Book()
        self.host = None if device_type == CPU else Book()
        self.pinned = None if device_type == CPU else Book()

    @property
    def named(self) -> dict[str, Book]:
        """Each, by the names in `oom_suite.records.kept.MEMORIES`."""
        books = {DEVICE: self.device, HOST: self.host, PINNED: self.pinned}
        return {memory: book for memory, book in books.items() if book is not None}

    @property
    def records(self) -> list[tuple[list[tuple[Any, ...]], list[tuple[str, int]]]]:
        """Requests and events of each."""
        return [(book.requests, book.events) for book in self.named.values()]

    @property
    def have_live(self) -> bool:
        """Whether a request has not been freed."""
        return any(book.has_live for book in self.named.values())

    def begin(self) -> None:
        """Take what is there by now for input."""
        for book in self.named.values():
            book.begin()

    def switch(self, *, is_open: bool) -> None:
        """Write down what comes, or do not."""
        for book in self.named.values():
            book.is_open = is_open

    def mark(self) -> None:
        """Note that a step of the call ends here."""
        for book in self.named.values():
            book.mark()

    def of(self, tensor: torch.Tensor, *, is_pinned: bool) -> Book | None:
        """The book of the memory that a tensor lies in; None where nobody looks at that.

        Args:
            tensor: a result of an operator.
            is_pinned: whether the operator was asked for pinned memory.
        """
        device_type = device_of(tensor).type
        if device_type == self._device_type:
            return self.device
        if device_type != CPU or self.pinned is None:
            return None
        return self.pinned if is_pinned or self.holds_pinned(tensor) else self.host

    def holds_pinned(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor lies in pinned memory."""
        if self.pinned is None or tensor.layout is not torch.strided:
            return False
        return self.pinned.find(storage_key(tensor.untyped_storage())) is not None

    def trace(self, lane: str, sizes: Mapping[str, int]) -> Trace:
        """The device's trace, with those of the host's memory."""
        host, pinned = (
            None if book is None else book.trace(lane, sizes) for book in (self.host, self.pinned)
        )
        own = self.device.trace(lane, sizes)
        return replace(own, host=host, pinned=pinned, num_operators=self.num_operators)
