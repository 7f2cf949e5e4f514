"""One trace as a sheet: for every place that allocates, its request and the live sum it reaches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from oom_suite.records import Frame, Trace

Place = tuple[str, tuple["Frame", ...]]
"""An operator and the stack that called it: the same whatever the sizes."""

Site = tuple[Place, int]
"""A place and its how-manieth allocation; -1 stands for all of a place's allocations at once."""

ALL = -1


@dataclass(frozen=True, slots=True)
class Sheet:
    """What each site of one run asked for and reached, in bytes.

    Attributes:
        own: the site's request (the largest, where the site stands for several).
        live: the live sum just after it (the largest likewise).
        peak: the run's peak.
        input_of_unseen: bytes given to each operator with scratch that the trace cannot see.
    """

    own: Mapping[Site, int]
    live: Mapping[Site, int]
    peak: int
    input_of_unseen: Mapping[Place, int]


def counts(trace: Trace) -> Counter[Place]:
    """How many allocations each place made."""
    return Counter(allocation.site for allocation in trace.allocations)


def site_names(trace: Trace, merged: Collection[Place]) -> list[Site]:
    """The site of every allocation of the trace, in order."""
    seen: Counter[Place] = Counter()
    names: list[Site] = []
    for allocation in trace.allocations:
        place = allocation.site
        names.append((place, ALL) if place in merged else (place, seen[place]))
        seen[place] += 1
    return names


def sheet(trace: Trace, merged: Collection[Place] = ()) -> Sheet:
    """The sheet of a trace; the places in `merged` are taken as one site each.

    A place whose number of allocations depends on the sizes (a loop over chunks) has no
    n-th allocation to compare between runs: its largest stands for it.
    """
    names = site_names(trace, merged)
    own: dict[Site, int] = {}
    live: dict[Site, int] = {}
    live_bytes = 0
    for event in trace.events:
        size = trace.allocations[event.allocation].requested_bytes
        if event.kind == "free":
            live_bytes -= size
            continue
        live_bytes += size
        name = names[event.allocation]
        own[name] = max(own.get(name, 0), size)
        live[name] = max(live.get(name, 0), live_bytes)
    return Sheet(
        own=own,
        live=live,
        peak=max(live.values(), default=0),
        input_of_unseen={(u.op, u.stack): u.input_bytes for u in trace.unseen},
    )
