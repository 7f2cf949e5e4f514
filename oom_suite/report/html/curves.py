"""The chart's numbers: each law over the pool's size, the regimes, the devices."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.records import Verdict
from oom_suite.report.html.sweep import Sweep, lowest_pool, spread, sweep_of
from oom_suite.report.rows import printable
from oom_suite.report.wording import exact_bytes_text, verdict_text
from oom_suite.targets.budgets import DEVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.records import Result

SHOWN_DEVICES = ("MI300X", "MI325X", "MI355X", "H200")
NUM_TONES = 8
_DASHES = ("solid", "dash", "dot", "dashdot")
_POOL = "num_blocks"
_POOLS_OF_THE_TABLE = (1_000, 10_000, 100_000, 1_000_000)
_FAR = 2**22
"""A pool beyond which no single device goes today."""
_MAX_LAW_BYTES = 2**53
"""Beyond this a browser's numbers are no longer exact."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A subject's peak over the pool's size.

    Attributes:
        name: the subject.
        verdict: in words.
        tone: the colour's name in ``page.css``.
        dash: plotly's name of the line's pattern.
        is_loud: whether it is what the reader should see first.
        peaks: requested bytes at each of the chart's pools.
        texts: the same in words, to the byte.
        winners: which formula is the maximum at each pool.
        formulas: the law's regimes.
        changes: positions at which another formula begins to win.
    """

    name: str
    verdict: str
    tone: str
    dash: str
    is_loud: bool
    peaks: tuple[int, ...]
    texts: tuple[str, ...]
    winners: tuple[int, ...]
    formulas: tuple[str, ...]
    changes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything the chart draws.

    Attributes:
        axes: the swept axes, all of the same value at each point.
        pools: the swept values, rising.
        marks: the scenario's own values, with the axes that have them.
        scenario: the scenario's name.
        curves: in the results' order, those that have a law.
        budgets: name, bytes, and words of each device; whether it was asked for.
        linear_top: the pool and the bytes up to which linear axes show.
    """

    axes: tuple[str, ...]
    pools: tuple[int, ...]
    marks: tuple[tuple[int, str], ...]
    scenario: str
    curves: tuple[Curve, ...]
    budgets: tuple[dict[str, Any], ...]
    linear_top: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """The chart as JSON values, for ``chart.js``."""
        return asdict(self)


def swept_axes(results: Sequence[Result]) -> tuple[str, ...]:
    """The axes that the chart varies together: the pools, else what the contracts forbid.

    None that every law holds at one value.
    """
    laws = [result.law for result in results if result.law is not None]
    held = set(laws[0].held).intersection(*(law.held for law in laws)) if laws else set()
    every = dict.fromkeys(axis for result in results for axis in result.sizes)
    named = [axis for axis in every if axis not in held]
    pools = tuple(axis for axis in named if axis == _POOL or axis.endswith(f"_{_POOL}"))
    blamed = {blame.axis for result in results for blame in result.blame}
    return pools or tuple(axis for axis in named if axis in blamed)


def tones(results: Sequence[Result]) -> tuple[tuple[str, str], ...]:
    """A tone and a dash for each result, so that no two of the first 32 look the same."""
    seen: dict[str, int] = {}
    given = []
    num_quiet = 0
    for result in results:
        if result.verdict is Verdict.FAIL:
            tone = "known" if result.as_expected else "bad"
        else:
            tone = f"c{num_quiet % NUM_TONES}"
            num_quiet += 1
        given.append((tone, _DASHES[seen.get(tone, 0) % len(_DASHES)]))
        seen[tone] = seen.get(tone, 0) + 1
    return tuple(given)


def chart(results: Sequence[Result]) -> Chart | None:
    """The chart of these results; None when no law or no axis is there to draw."""
    axes = swept_axes(results)
    drawn = [
        (result, sweep, look)
        for result, look in zip(results, tones(results), strict=True)
        if (sweep := sweep_of(result, axes)) is not None
    ]
    if not drawn:
        return None
    laws = [sweep for _, sweep, _ in drawn]
    marks = _marks(drawn[0][0].sizes, axes)
    pool = max(n for n, _ in marks)
    budgets = _budgets(results)
    low = min(lowest_pool(result.sizes, axes) for result, _, _ in drawn)
    high = _high(laws, pool, max(budget["bytes"] for budget in budgets))
    top = _linear_top(laws, pool, high, budgets)
    pools = spread(low, high, top[0], (n for n, _ in marks))
    changes = [sweep.changes(pools) for sweep in laws]
    every = tuple(sorted({*pools, *(n for found in changes for n in found)}))
    curves = tuple(
        _curve(result, sweep, look, every, found)
        for (result, sweep, look), found in zip(drawn, changes, strict=True)
    )
    return Chart(axes, every, marks, printable(drawn[0][0].scenario), curves, budgets, top)


def _marks(sizes: Mapping[str, int], axes: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    values: dict[int, list[str]] = {}
    for axis in axes:
        values.setdefault(sizes[axis], []).append(axis)
    if len(values) == 1:
        return ((sizes[axes[0]], ""),)
    return tuple((n, printable(", ".join(names))) for n, names in sorted(values.items()))


def _budgets(results: Sequence[Result]) -> tuple[dict[str, Any], ...]:
    asked = {fit.name: fit.free_bytes for result in results if (fit := result.budget)}
    devices = {
        device.name: device.free_bytes
        for device in DEVICES
        if device.name in SHOWN_DEVICES and device.name not in asked
    }
    rows = [
        {
            "name": printable(name),
            "bytes": num_bytes,
            "text": exact_bytes_text(num_bytes),
            "is_asked": group is asked,
        }
        for group in (asked, devices)
        for name, num_bytes in group.items()
    ]
    return tuple(sorted(rows, key=lambda row: (row["bytes"], row["name"])))


def _high(laws: Sequence[Sweep], pool: int, device_bytes: int) -> int:
    """The largest pool shown: where a growing law has passed every device, where it does."""
    high, limit = 16 * pool, max(64 * pool, _FAR)
    while high * 2 <= limit and max(law(high) for law in laws) < device_bytes * 3 // 2:
        high *= 2
    while high > pool and max(law(high) for law in laws) > _MAX_LAW_BYTES:
        high = max(pool, high // 2)
    return high


def _linear_top(
    laws: Sequence[Sweep], pool: int, high: int, budgets: Sequence[Mapping[str, Any]]
) -> tuple[int, int]:
    """Where linear axes end: just past the devices, or past the budget that was asked for."""
    here = max(law(pool) for law in laws)
    if max(law(high) for law in laws) <= here:
        return 2 * pool, max(1, here * 4 // 3)
    asked = [budget["bytes"] for budget in budgets if budget["is_asked"]]
    wanted = max([*asked, here]) * 8 // 5 if asked else max(here, budgets[-1]["bytes"]) * 9 // 8
    biggest = range(2 * pool, high, max(1, pool // 16))
    at = bisect_left(biggest, wanted, key=lambda n: max(law(n) for law in laws))
    end = biggest[at] if at < len(biggest) else high
    return end, min(wanted, max(law(end) for law in laws) * 9 // 8)


def _curve(
    result: Result,
    sweep: Sweep,
    look: tuple[str, str],
    pools: Sequence[int],
    changes: Sequence[int],
) -> Curve:
    peaks = tuple(sweep(n) for n in pools)
    return Curve(
        name=printable(result.subject),
        verdict=verdict_text(result),
        tone=look[0],
        dash=look[1],
        is_loud=look[0] == "bad",
        peaks=peaks,
        texts=tuple(exact_bytes_text(peak) for peak in peaks),
        winners=tuple(sweep.winner(n) for n in pools),
        formulas=tuple(printable(str(regime)) for regime in sweep.law.regimes),
        changes=tuple(pools.index(n) for n in changes),
    )


def curves_table(results: Sequence[Result], drawn: Chart | None) -> dict[str, Any] | None:
    """The chart as numbers, for readers who do not see it, and for paper."""
    if drawn is None:
        return None
    inside = {n for n in _POOLS_OF_THE_TABLE if drawn.pools[0] <= n <= drawn.pools[-1]}
    here = {n for n, _ in drawn.marks}
    pools = sorted({drawn.pools[0], *inside, *here})
    rows: list[tuple[str, list[str]]] = []
    for result in results:
        sweep = sweep_of(result, drawn.axes)
        if sweep is not None:
            cells = [exact_bytes_text(sweep(n)) for n in pools]
            rows.append((printable(result.subject), cells))
    head: list[Mapping[str, Any]] = [{"pool": f"{n:,}", "is_here": n in here} for n in pools]
    return {"head": head, "rows": rows}
