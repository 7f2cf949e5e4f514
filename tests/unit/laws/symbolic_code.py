"""Small code as symbols and as exact runs, for the tests beside this file."""

from __future__ import annotations

from oom_suite.records import Allocation, Axis, Contract, Event, Frame, Polynomial, Trace, Workload
from oom_suite.records.symbolic import SymbolicAllocation, SymbolicTrace

WORKLOAD = Workload(
    name="code",
    axes=(
        Axis("pool", step=64, far=(64, 4096)),
        Axis("tokens", step=1, far=(1, 128)),
    ),
    builder="",
    contract=Contract(independent_of=("pool",)),
)
SIZES = {"pool": 640, "tokens": 4}
ORDER = ("pool", "tokens")


def line(number):
    """The line of the n-th request."""
    return Frame("code.py", number, "code")


def symbolic(hints, requests, events=None, **others):
    """A symbolic trace of these requests' terms; each is kept where no events are given."""
    allocations = tuple(
        SymbolicAllocation(Polynomial.of(terms, ORDER), "op", (line(number),))
        for number, terms in enumerate(requests)
    )
    events = events or [("alloc", number) for number in range(len(requests))]
    return SymbolicTrace(hints, {}, allocations, tuple(events), **others)


def exact(sizes, requested, events=None, lines=None):
    """The shadow lane's trace of requests of so many bytes."""
    events = events or [("alloc", number) for number in range(len(requested))]
    places = lines or range(len(requested))
    allocations = tuple(
        Allocation(num_bytes, "op", (line(place),))
        for num_bytes, place in zip(requested, places, strict=True)
    )
    return Trace("shadow", sizes, allocations, tuple(Event(*event) for event in events))
