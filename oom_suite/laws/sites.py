"""One trace as a sheet: for every place that allocates, its request and the live sum it reaches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

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


def places_of(trace: Trace) -> list[Place]:
    """The place of every allocation, in order; equal ones are one object.

    A place's hash walks a whole stack, and most allocations of a run share theirs with others.
    """
    places: dict[tuple[str, int], Place] = {}
    equal: dict[Place, Place] = {}
    found: list[Place] = []
    for each in trace.allocations:
        key = (each.op, id(each.stack))
        place = places.get(key)
        if place is None:
            place = places[key] = equal.setdefault(each.site, each.site)
        found.append(place)
    return found


def counts(trace: Trace) -> Counter[Place]:
    """How many allocations each place made."""
    places = places_of(trace)
    of_object = Counter(map(id, places))
    objects = {id(place): place for place in places}
    return Counter({objects[key]: number for key, number in of_object.items()})


def merged_places(traces: Iterable[Trace]) -> frozenset[Place]:
    """The places whose number of allocations is not the same in all these traces."""
    tallies = [counts(trace) for trace in traces]
    places = set().union(*tallies)
    return frozenset(place for place in places if len({tally[place] for tally in tallies}) > 1)


def site_names(trace: Trace, merged: Collection[Place]) -> list[Site]:
    """The site of every allocation of the trace, in order; equal ones are one object."""
    whole: dict[int, Site | None] = {}
    seen: Counter[int] = Counter()
    names: list[Site] = []
    for place in places_of(trace):
        key = id(place)
        if key not in whole:
            whole[key] = (place, ALL) if place in merged else None
        names.append(whole[key] or (place, seen[key]))
        seen[key] += 1
    return names


def _numbered(names: Sequence[Site]) -> tuple[list[int], list[Site]]:
    """The same sites as numbers, and the site of each number: a hash walks a whole stack."""
    numbers: dict[tuple[int, int], int] = {}
    sites: list[Site] = []
    found: list[int] = []
    for name in names:
        key = (id(name[0]), name[1])
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = len(sites)
            sites.append(name)
        found.append(number)
    return found, sites


def without(trace: Trace, places: Collection[Place]) -> Trace:
    """The same run as if these places had allocated nothing."""
    if not places:
        return trace
    allocations = tuple(
        replace(each, requested_bytes=0) if place in places else each
        for each, place in zip(trace.allocations, places_of(trace), strict=True)
    )
    return replace(trace, allocations=allocations)


def sheet(trace: Trace, merged: Collection[Place] = ()) -> Sheet:
    """The sheet of a trace; the places in `merged` are taken as one site each.

    A place whose number of allocations depends on the sizes (a loop over chunks) has no
    n-th allocation to compare between runs: its largest stands for it.
    """
    names, sites = _numbered(site_names(trace, merged))
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
    return Sheet(
        own={sites[number]: size for number, size in own.items()},
        held={sites[number]: size for number, size in held.items()},
        live={sites[number]: size for number, size in live.items()},
        peak=max(live.values(), default=0),
    )


def alive_with(trace: Trace, merged: Collection[Place], site: Site) -> Counter[Site]:
    """The bytes that every site holds when `site` reaches its largest live sum, itself included."""
    names, sites = _numbered(site_names(trace, merged))
    wanted = {number for number, name in enumerate(sites) if name == site}
    live_bytes, best_bytes, best_event = 0, -1, -1
    for at, event in enumerate(trace.events):
        size = trace.allocations[event.allocation].requested_bytes
        if event.kind == "free":
            live_bytes -= size
            continue
        live_bytes += size
        if live_bytes > best_bytes and names[event.allocation] in wanted:
            best_bytes, best_event = live_bytes, at
    held: Counter[int] = Counter()
    for number in trace.live_after(best_event):
        held[names[number]] += trace.allocations[number].requested_bytes
    return Counter({sites[name]: held[name] for name in sorted(held) if held[name] > 0})


def unseen_inputs(trace: Trace) -> dict[Place, int]:
    """The most bytes given at once to each operator with scratch that the trace cannot see."""
    largest: dict[Place, int] = {}
    for unseen in trace.unseen:
        place = (unseen.op, unseen.stack)
        largest[place] = max(largest.get(place, 0), unseen.input_bytes)
    return largest
