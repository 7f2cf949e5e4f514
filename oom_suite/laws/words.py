"""The words for sizes and numbers, and what a reader must know of a law besides the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from fractions import Fraction

    from oom_suite.laws.derivation import Change, Derivation
    from oom_suite.records import Workload

_MAX_DATA_SIZES = 4
"""Sizes decided by data, at most, that a verdict lists."""


def join(words: Iterable[str]) -> str:
    """``a``, ``a and b`` or ``a, b and c``."""
    every = list(words)
    return " and ".join(filter(None, [", ".join(every[:-1]), *every[-1:]]))


def listed(sizes: Mapping[str, int]) -> str:
    """``num_tokens=4, num_heads=8``."""
    return ", ".join(f"{axis}={size:,}" for axis, size in sizes.items())


def grouped(value: Fraction) -> str:
    """An exact number as people write it: ``82,048``, ``0.125``."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    return f"{float(value):,.10g}"


def moved_from(
    start: Mapping[str, int], sizes: Mapping[str, int], without: Iterable[str] = ()
) -> dict[str, int]:
    """The sizes that differ from where one started."""
    left_out = frozenset(without)
    return {a: sizes[a] for a in start if a not in left_out and sizes[a] != start[a]}


def notes_on(derivation: Derivation) -> tuple[str, ...]:
    """What the reader must know besides the verdict, one clause each."""
    notes = [_elsewhere(change) for change in derivation.elsewhere]
    if derivation.exceptions:
        number = len(derivation.exceptions)
        first = moved_from(derivation.law.sizes, derivation.exceptions[0])
        more_sizes = f"{number} more {'size' if number == 1 else 'sizes'}"
        notes.append(f"the peak is not the law's at {more_sizes}, the first {listed(first)}")
    if derivation.refused:
        start = derivation.law.sizes
        sizes, why = min(derivation.refused, key=lambda each: len(moved_from(start, each[0])))
        at = listed(moved_from(start, sizes)) or "the scenario"
        more = len(derivation.refused) - 1
        others = f" (and at {more} more)" if more else ""
        notes.append(f"could not be run at {at}: {why}{others}")
    return (*notes, *_decided_by_data(derivation))


def _decided_by_data(derivation: Derivation) -> list[str]:
    """What the law has at its worst case, a clause for each line."""
    found = derivation.trace.data_sizes
    more = len(found) - _MAX_DATA_SIZES
    rest = [f"{more} more sizes are decided by data"] if more > 0 else []
    return [*map(str, found[:_MAX_DATA_SIZES]), *rest]


def note_on_bound(derivation: Derivation, workload: Workload) -> tuple[str, ...]:
    """In which axes the bound was checked and not proved; nothing where it is proved."""
    if workload.contract.at_most is not None and not derivation.is_whole:
        axes = dict.fromkeys((*derivation.irregular, *derivation.uneven))
        axes.update(dict.fromkeys(a for change in derivation.elsewhere for a in change.moved))
        axes.update(
            dict.fromkeys(
                axis
                for sizes in derivation.exceptions
                for axis in moved_from(derivation.law.sizes, sizes)
            )
        )
        over = [axis for axis in axes if axis not in workload.contract.independent_of]
        where = f", not proved in {join(over)}" if over else ", not proved"
        return (f"bound checked at {derivation.law.num_runs} sizes{where}",)
    return ()


def _elsewhere(change: Change) -> str:
    says = f"{change.predicted_bytes:,}" if change.predicted_bytes >= 0 else "no whole number"
    difference = (
        f" ({change.actual_bytes:,} bytes, where the first law says {says})"
        if change.predicted_bytes != change.actual_bytes
        else ""
    )
    return f"another law holds at {listed(change.moved)}: {change.law.here}{difference}"
