"""A trace: every allocation and free of one call, with the lines that asked for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oom_suite.records.frame import Frame
from oom_suite.records.measurement import Measurement
from oom_suite.records.pickling import PickledByFields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_TORCH = ("aten::", "prim::", "profiler::")

ALLOCATOR = "allocator"
"""The operator of a request that a device's allocator recorded: it does not know who asked."""


@dataclass(frozen=True, slots=True)
class Allocation(PickledByFields):
    """One request to the allocator.

    Attributes:
        requested_bytes: the bytes asked for, before any rounding.
        op: the operator that asked, for example ``aten.empty.memory_format``; `ALLOCATOR` where
            the device's own history tells of it, which names none.
        stack: lines of the code under test, innermost first; empty when none is on the stack.
        is_bound: whether it stands for what a kernel takes inside at most: no request that was
            seen, but no less than those that were not.
        inside: the operator inside whose kernel it is made; empty for what dispatch sees.
        seen_bytes: what dispatch sees of one that is made inside: a result's own bytes, where its
            storage has more.
    """

    requested_bytes: int
    op: str
    stack: tuple[Frame, ...]
    is_bound: bool = False
    inside: str = ""
    seen_bytes: int = 0

    @property
    def site(self) -> tuple[str, tuple[Frame, ...]]:
        """What identifies the place in the code, whatever the sizes."""
        return self.op, self.stack


def _of_kernel(allocation: Allocation) -> list[Any]:
    """The last fields of a request, which most have none of."""
    if allocation.inside:
        return [allocation.is_bound, allocation.inside, allocation.seen_bytes]
    return [True] if allocation.is_bound else []


@dataclass(frozen=True, slots=True)
class Event(PickledByFields):
    """One step of the allocator's life.

    Attributes:
        kind: ``"alloc"`` or ``"free"``.
        allocation: index into `Trace.allocations`.
    """

    kind: str
    allocation: int


@dataclass(frozen=True, slots=True)
class Unseen:
    """An operator whose kernel may take scratch memory that dispatch cannot see.

    Attributes:
        op: the operator's name.
        stack: where it was called, innermost first.
        input_bytes: bytes of its tensor inputs; scratch is taken to grow with these.
        reason: what the kernel allocates inside, in one clause.
        is_bounded: whether what was seen in its place is more than the kernel takes.
    """

    op: str
    stack: tuple[Frame, ...]
    input_bytes: int
    reason: str
    is_bounded: bool = False

    @property
    def is_opaque(self) -> bool:
        """Whether it is from outside torch: then nothing at all is known of it."""
        return not self.op.startswith(_TORCH)


@dataclass(frozen=True, slots=True)
class DataSize:
    """A size that data decides, and the most that it can be: the trace has the worst case.

    Attributes:
        op: the operator whose result has that size.
        stack: where it was called, innermost first.
        at_most: the largest number of its entries, of all the calls there.
        num_parts: how many calls have that together, because their masks share one whole.
    """

    op: str
    stack: tuple[Frame, ...]
    at_most: int
    num_parts: int = 1

    def __str__(self) -> str:
        """What it is at most, as one clause."""
        at = f" at {self.stack[0]}" if self.stack else ""
        shared = f" in {self.num_parts:,} calls together" if self.num_parts > 1 else ""
        return f"{self.op}{at} gives at most {self.at_most:,} entries{shared}: the worst case"


@dataclass(frozen=True, slots=True)
class Launch:
    """A GPU kernel launch that a fake lane recorded by name and did not run."""

    kernel: str
    stack: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest sum of live requests, and what was live then.

    Attributes:
        num_bytes: the sum at the peak.
        event: index into `Trace.events` of the allocation that reached it; -1 when none.
        live: indices into `Trace.allocations`, in order of allocation.
    """

    num_bytes: int
    event: int
    live: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """What one call asked of the allocator, inputs excluded.

    Attributes:
        lane: ``"shadow"`` or ``"measure"``.
        sizes: the axes' values that the call was built with.
        allocations: every request, in order.
        events: allocate and free events, in order.
        input_bytes: bytes of the inputs that were alive when the call began.
        unseen: operators with scratch that dispatch cannot see.
        launches: kernels recorded and not run.
        host_reads: lines that read a tensor's value on the host (a sync on a GPU).
        measurement: what the device and the machine said beside it; measure lane only.
        is_compiled: whether a function that torch.compile made was entered, and run as written.
        host: what the same call asked of pageable host memory; None where the device is the host.
        pinned: what it asked of pinned host memory; None where the device is the host.
        unrecorded: what ran torch where no recorder looks, one line each: a thread of C++, a
            process. Nothing is known of what it took.
        marks: how many events there were at the end of each step, where the call has steps.
        data_sizes: sizes that data decides. Where there are any, the trace is not what a call
            takes, but what one takes at most.
        num_operators: how many operators the call ran, whether they asked for memory or not; 0
            where nobody counted.
    """

    lane: str
    sizes: Mapping[str, int]
    allocations: tuple[Allocation, ...]
    events: tuple[Event, ...]
    input_bytes: int = 0
    unseen: tuple[Unseen, ...] = ()
    launches: tuple[Launch, ...] = ()
    host_reads: tuple[Frame, ...] = ()
    measurement: Measurement | None = None
    is_compiled: bool = False
    host: Trace | None = None
    pinned: Trace | None = None
    unrecorded: tuple[str, ...] = ()
    marks: tuple[int, ...] = ()
    data_sizes: tuple[DataSize, ...] = ()
    num_operators: int = field(default=0, compare=False)

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the allocations that outlive the call and its result, in order."""
        return self.live_after(len(self.events) - 1)

    def peak(self, size_of: Callable[[int], int] = int) -> Peak:
        """The largest live sum, each request passed through `size_of` first.

        Args:
            size_of: what one request of so many bytes takes; the identity gives
                ``requested``, `oom_suite.allocator.round_request` gives ``allocated``.
        """
        sizes = [size_of(allocation.requested_bytes) for allocation in self.allocations]
        live_bytes = best_bytes = 0
        best_event = -1
        for index, event in enumerate(self.events):
            if event.kind == "free":
                live_bytes -= sizes[event.allocation]
                continue
            live_bytes += sizes[event.allocation]
            if live_bytes > best_bytes:
                best_bytes, best_event = live_bytes, index
        return Peak(best_bytes, best_event, self.live_after(best_event))

    def live_after(self, event_index: int) -> tuple[int, ...]:
        """Indices of the allocations alive just after that event, in order of allocation."""
        live: dict[int, None] = {}
        for event in self.events[: event_index + 1]:
            if event.kind == "alloc":
                live[event.allocation] = None
            else:
                del live[event.allocation]
        return tuple(live)

    def without(self, is_left_out: Callable[[Allocation], bool]) -> Trace:
        """The same trace with some of the requests never made."""
        kept = [n for n, each in enumerate(self.allocations) if not is_left_out(each)]
        numbers = {old: new for new, old in enumerate(kept)}
        return replace(
            self,
            allocations=tuple(self.allocations[n] for n in kept),
            events=tuple(
                Event(event.kind, numbers[event.allocation])
                for event in self.events
                if event.allocation in numbers
            ),
        )

    def inside_bytes(self) -> dict[tuple[str, Frame | None], int]:
        """For each operator and line, the most that its kernels take beside what dispatch sees."""
        live: dict[tuple[str, Frame | None], int] = {}
        most: dict[tuple[str, Frame | None], int] = {}
        for event in self.events:
            one = self.allocations[event.allocation]
            if one.inside:
                place = one.inside, one.stack[0] if one.stack else None
                beyond = one.requested_bytes - one.seen_bytes
                live[place] = live.get(place, 0) + (beyond if event.kind == "alloc" else -beyond)
                most[place] = max(most.get(place, 0), live[place])
        return {place: num_bytes for place, num_bytes in most.items() if num_bytes}

    @property
    def largest_request_bytes(self) -> int:
        """The largest single request of the call, in bytes; 0 when it made none."""
        return max((a.requested_bytes for a in self.allocations), default=0)

    def to_json(self) -> dict[str, Any]:
        """The trace as JSON values; stacks are stored once and referred to by number."""
        stacks: dict[tuple[Frame, ...], int] = {}

        def number(stack: tuple[Frame, ...]) -> int:
            return stacks.setdefault(stack, len(stacks))

        body: dict[str, Any] = {
            "lane": self.lane,
            "sizes": dict(self.sizes),
            "input_bytes": self.input_bytes,
            "allocations": [
                [a.requested_bytes, a.op, number(a.stack), *_of_kernel(a)] for a in self.allocations
            ],
            "events": [[e.kind, e.allocation] for e in self.events],
            "unseen": [
                [u.op, number(u.stack), u.input_bytes, u.reason, *([True] if u.is_bounded else [])]
                for u in self.unseen
            ],
            "launches": [[launch.kernel, number(launch.stack)] for launch in self.launches],
            "host_reads": [[f.file, f.line, f.function] for f in self.host_reads],
            "measurement": None if self.measurement is None else self.measurement.to_json(),
            "is_compiled": self.is_compiled,
            "host": None if self.host is None else self.host.to_json(),
            "pinned": None if self.pinned is None else self.pinned.to_json(),
            "unrecorded": list(self.unrecorded),
            "marks": list(self.marks),
            "num_operators": self.num_operators,
            "data_sizes": [
                [d.op, number(d.stack), d.at_most, d.num_parts] for d in self.data_sizes
            ],
        }
        body["stacks"] = [[[f.file, f.line, f.function] for f in stack] for stack in stacks]
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Trace:
        """The trace that `to_json` wrote."""
        stacks = [tuple(Frame(*frame) for frame in stack) for stack in body["stacks"]]
        return cls(
            lane=body["lane"],
            sizes=body["sizes"],
            allocations=tuple(
                Allocation(size, op, stacks[s], *rest) for size, op, s, *rest in body["allocations"]
            ),
            events=tuple(Event(kind, allocation) for kind, allocation in body["events"]),
            input_bytes=body["input_bytes"],
            unseen=tuple(
                Unseen(op, stacks[s], n, why, *rest) for op, s, n, why, *rest in body["unseen"]
            ),
            launches=tuple(Launch(kernel, stacks[s]) for kernel, s in body["launches"]),
            host_reads=tuple(Frame(*frame) for frame in body["host_reads"]),
            measurement=None
            if body["measurement"] is None
            else Measurement.from_json(body["measurement"]),
            is_compiled=body.get("is_compiled", False),
            host=cls.from_json(body["host"]) if body.get("host") else None,
            pinned=cls.from_json(body["pinned"]) if body.get("pinned") else None,
            unrecorded=tuple(body.get("unrecorded", ())),
            marks=tuple(body.get("marks", ())),
            num_operators=body.get("num_operators", 0),
            data_sizes=tuple(
                DataSize(op, stacks[s], most, num_parts)
                for op, s, most, num_parts in body.get("data_sizes", ())
            ),
        )
