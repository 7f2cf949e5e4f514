"""What a kernel does to the allocator in one call: its requests and frees, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Take:
    """A request inside an operator.

    Attributes:
        name: what `Give` frees it by; a number is the place of the result that keeps it.
        num_bytes: the request.
        op: who asks.
        is_bound: whether the kernel may ask for less.
    """

    name: str | int
    num_bytes: int
    op: str
    is_bound: bool = False


@dataclass(frozen=True, slots=True)
class Give:
    """The free of what `Take` of that name asked for."""

    name: str


Step = Take | Give
