"""What the meters beside the allocator said, one line for each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oom_suite.report.rows import Line, printable
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from oom_suite.records import Reading

_METERS = ("nvml", "amdsmi", "drm", "mem_get_info", "torch", "VmHWM", "psutil", "cgroup")
_LAST = "sampler"
_TOTAL = "device total"
_RESERVE = "driver's reserve"
_QUANTITIES = ("this process", "device used", _TOTAL, _RESERVE)
_WHEN = {
    "peak": "peak",
    "peak of the samples": "sampled peak",
    "before": "before",
    "after": "after",
    "peak since the group began": "peak since the group began",
}
"""How a quantity's reading ends, and the words for it, in this order.

A peak of the group's whole life can be of long before the call, so it leads no line.
"""

_WHOLE_METER = "all"


@dataclass(slots=True)
class _Meter:
    """One meter's figures by quantity and time (empty: it does not change), and what is missing."""

    figures: dict[str, dict[str, int]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def meter_lines(readings: Sequence[Reading]) -> Iterator[Line]:
    """One line a meter, always in the same order: peaks first, then what was left out and why.

    A device's total stands once: a later meter's is shown where it is another one, beyond the
    driver's reserve that some count in it. A peak of samples is called one, and the last line
    says how far apart these were.

    Args:
        readings: of one measurement, in any order; figures in bytes.
    """
    meters = _by_meter(readings)
    width = max((len(name) for name in meters), default=0)
    known_totals: set[int] = set()
    for name in sorted(meters, key=_place):
        figures = meters[name].figures
        _drop_known_total(figures, known_totals)
        parts = [
            _figures_text(quantity, figures[quantity])
            for quantity in _ordered(figures, _QUANTITIES)
        ]
        text = "; ".join([*parts, *meters[name].missing])
        if text:
            yield Line(printable(f"{name:<{width}}  {text}"), hang=width + 2)


def _by_meter(readings: Iterable[Reading]) -> dict[str, _Meter]:
    found: dict[str, _Meter] = {}
    for each in readings:
        meter = found.setdefault(each.meter, _Meter())
        if each.num_bytes is None:
            # The sampler's one reading, and a meter that failed as a whole, need no subject.
            alone = each.meter == _LAST or each.quantity == _WHOLE_METER
            meter.missing.append(each.why_not if alone else f"{each.quantity}: {each.why_not}")
            continue
        quantity, _, when = each.quantity.rpartition(", ")
        if when not in _WHEN or not quantity:
            quantity, when = each.quantity, ""
        meter.figures.setdefault(quantity, {})[when] = each.num_bytes
    return found


def _place(name: str) -> tuple[int, str]:
    if name == _LAST:
        return len(_METERS) + 1, name
    return (_METERS.index(name) if name in _METERS else len(_METERS)), name


def _ordered(found: Iterable[str], first: Sequence[str]) -> list[str]:
    names = list(found)
    return [*(name for name in first if name in names), *(n for n in names if n not in first)]


def _drop_known_total(figures: dict[str, dict[str, int]], known_totals: set[int]) -> None:
    total = figures.get(_TOTAL, {}).get("")
    if total is None:
        return
    if total in known_totals:
        del figures[_TOTAL]
    # What the driver keeps for itself is in NVML's total and not in the runtime's.
    reserve = figures.get(_RESERVE, {}).get("", 0)
    known_totals |= {total, total - reserve}


def _figures_text(quantity: str, figures: dict[str, int]) -> str:
    """``this process 29.90 GiB sampled peak (16.36 before and after)``."""
    if "" in figures:
        return f"{quantity} {format_bytes(figures[''])}"
    amounts = [(format_bytes(figures[when]), _WHEN[when]) for when in _WHEN if when in figures]
    if not amounts[0][1].endswith("peak"):
        return f"{quantity} {_merged(amounts)}"
    (peak, when), rest = amounts[0], amounts[1:]
    if not rest:
        return f"{quantity} {peak} {when}"
    unit = f" {peak.rpartition(' ')[2]}"
    beside = [(amount.removesuffix(unit), what) for amount, what in rest]
    return f"{quantity} {peak} {when} ({_merged(beside)})"


def _merged(amounts: Sequence[tuple[str, str]]) -> str:
    """Amount and time of each; one amount for ``before and after`` where both read alike."""
    texts: dict[str, str] = {}
    for amount, when in amounts:
        texts[amount] = f"{texts[amount]} and {when}" if amount in texts else when
    return ", ".join(f"{amount} {whens}" for amount, whens in texts.items())
