"""One trace as a sheet: for every place that allocates, its request and the live sum it reaches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from oom_suite.records import Frame, Trace

Place = tuple[str, tuple["Frame", ...]]
"""An operator and the stack that called it: the same whatever the sizes."""

Site = tuple[Place, int]
"""A place and the index of one of its allocations; -1 stands for all of them at once."""

ALL = -1


@dataclass(frozen=True, slots=True)
class Sheet:
    """What each site of one run asked for and reached, in bytes.

    Attributes:
        own: the site's request (the largest, where the site stands for several).
        held: the most that the site had alive at once; its request, where it is one allocation.
        live: the live sum just after it (the largest likewise).
        peak: the run's peak.
    """

    own: Mapping[Site, int]
    held: Mapping[Site, int]
    live: Mapping[Site, int]
    peak: int


def counts(trace: Trace) -> Counter[Place]:
    """How many allocations each place made."""
    return Counter(allocation.site for allocation in trace.allocations)


def merged_places(traces: Iterable[Trace]) -> frozenset[Place]:
    """The places whose number of allocations is not the same in all these traces."""
    tallies = [counts(trace) for trace in traces]
    places = set().union(*tallies)
    return frozenset(place for place in places if len({tally[place] for tally in tallies}) > 1)


def site_names(trace: Trace, merged: Collection[Place]) -> list[Site]:
    """The site of every allocation of the trace, in order."""
    seen: Counter[Place] = Counter()
    names: list[Site] = []
    for allocation in trace.allocations:
        place = allocation.site
        names.append((place, ALL) if place in merged else (place, seen[place]))
        seen[place] += 1
    return names


def without(trace: Trace, places: Collection[Place]) -> Trace:
    """The same run as if these places had allocated nothing."""
    if not places:
        return trace
    allocations = tuple(
        replace(each, requested_bytes=0) if each.site in places else each
        for each in trace.allocations
    )
    return replace(trace, allocations=allocations)


def sheet(trace: Trace, merged: Collection[Place] = ()) -> Sheet:
    """The sheet of a trace; the places in `merged` are taken as one site each.

    A place whose number of allocations depends on the sizes (a loop over chunks) has no
    n-th allocation to compare between runs: its largest stands for it.
    """
    # A site's hash walks a whole stack: in here they are numbers.
    numbers: dict[Site, int] = {}
    names = [numbers.setdefault(site, len(numbers)) for site in site_names(trace, merged)]
    own: dict[int, int] = {}
    held: dict[int, int] = {}
    live: dict[int, int] = {}
    held_now: Counter[int] = Counter()
    live_bytes = 0
    for event in trace.events:
        size = trace.allocations[event.allocation].requested_bytes
        name = names[event.allocation]
        if event.kind == "free":
            live_bytes -= size
            held_now[name] -= size
            continue
        live_bytes += size
        held_now[name] += size
        own[name] = max(own.get(name, 0), size)
        held[name] = max(held.get(name, 0), held_now[name])
        live[name] = max(live.get(name, 0), live_bytes)
    sites = list(numbers)
    return Sheet(
        own={sites[number]: size for number, size in own.items()},
        held={sites[number]: size for number, size in held.items()},
        live={sites[number]: size for number, size in live.items()},
        peak=max(live.values(), default=0),
    )


def alive_with(trace: Trace, merged: Collection[Place], site: Site) -> Counter[Site]:
    """The bytes that every site holds when `site` reaches its largest live sum, itself included."""
    names = site_names(trace, merged)
    now: Counter[Site] = Counter()
    best: Counter[Site] = Counter()
    live_bytes, best_bytes = 0, -1
    for event in trace.events:
        size = trace.allocations[event.allocation].requested_bytes
        name = names[event.allocation]
        sign = -1 if event.kind == "free" else 1
        live_bytes += sign * size
        now[name] += sign * size
        if sign == 1 and name == site and live_bytes > best_bytes:
            best_bytes, best = live_bytes, now.copy()
    return +best


def unseen_inputs(trace: Trace) -> dict[Place, int]:
    """The most bytes given at once to each operator with scratch that the trace cannot see."""
    largest: dict[Place, int] = {}
    for unseen in trace.unseen:
        place = (unseen.op, unseen.stack)
        largest[place] = max(largest.get(place, 0), unseen.input_bytes)
    return largest
