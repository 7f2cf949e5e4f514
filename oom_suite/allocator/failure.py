"""A request that the modelled allocator could not serve."""

from __future__ import annotations

from dataclasses import dataclass

from oom_suite.errors import OomSuiteError
from oom_suite.units import format_bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request failed, after everything cached was given back.

    Attributes:
        requested_bytes: the request.
        segment_bytes: what the driver was asked for; torch names this one in its message.
        reserved_bytes: what the allocator held then.
        allocated_bytes: what of it was in use.
        remaining_bytes: what the driver or the limit still allowed.
        limit_bytes: the allocator's own limit; None without one.
    """

    requested_bytes: int
    segment_bytes: int
    reserved_bytes: int
    allocated_bytes: int
    remaining_bytes: int
    limit_bytes: int | None

    def __str__(self) -> str:
        """The refusal in one line, in torch's units."""
        limit = "" if self.limit_bytes is None else f" of {format_bytes(self.limit_bytes)} allowed"
        return (
            f"tried to allocate {format_bytes(self.segment_bytes)}, "
            f"{format_bytes(self.remaining_bytes)} free{limit}; "
            f"{format_bytes(self.allocated_bytes)} allocated, "
            f"{format_bytes(self.reserved_bytes)} reserved"
        )


class AllocatorOutOfMemoryError(OomSuiteError):
    """The modelled allocator is out of memory.

    Attributes:
        refusal: the request and what there was.
    """

    def __init__(self, refusal: Refusal) -> None:
        """Keep the record; the message is its line."""
        super().__init__(str(refusal))
        self.refusal = refusal
