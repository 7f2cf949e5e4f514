"""What became of a locked law: the same, smaller, or grown, and where."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING

from oom_suite.records import Polynomial
from oom_suite.records.lock import Change, Difference, GrownTerm, Growth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from oom_suite.records import Law, Workload
    from oom_suite.records.lock import Entry


_MAX_DOUBLINGS = 24

_MANY = 1 << 50
"""More than any size that data decides can be."""


def quantities(
    now: Iterable[str], locked: Iterable[str], sizes: Mapping[str, int]
) -> list[dict[str, int]]:
    """Values for the sizes in two laws that are no axes, because data decides them.

    One that only the law of now has may be 0, and one that only the locked law had may be
    anything: growth is shown with the values that speak against it most.
    """
    new, old = set(now) - sizes.keys(), set(locked) - sizes.keys()
    separate = {**dict.fromkeys(new - old, 0), **dict.fromkeys(old - new, _MANY)}
    together = dict.fromkeys(new & old)
    if not together:
        return [separate]
    return [{**separate, **dict.fromkeys(together, value)} for value in (1, 1 << 12, 1 << 24)]


def points(
    formula: Polynomial,
    others: Sequence[Polynomial],
    workload: Workload,
    sizes: Mapping[str, int],
    held: Mapping[str, int],
    scenarios: Sequence[Mapping[str, int]],
) -> Iterator[dict[str, int]]:
    """Sizes that can be built: the scenarios, every corner of the far ones, then ever larger.

    Along one term's axes, doubled together with the others small, any excess of a higher
    degree shows in the end.

    Args:
        formula: the one that may be larger.
        others: those that it is compared with.
        workload: says how far its axes go, and which sizes go together.
        sizes: the scenario.
        held: axes that stay where they are.
        scenarios: further sizes to try first.
    """
    for chosen in (sizes, *scenarios):
        yield from _settled(workload, {**sizes, **chosen, **held}, held)
    wanted = formula.axes.union(*(other.axes for other in others))
    axes = [axis for axis in workload.axes if axis.name in wanted and axis.name not in held]
    ranges = {a.name: sorted({a.lower, sizes[a.name], *a.far}) for a in axes}
    ends = {name: sorted({values[0], sizes[name], values[-1]}) for name, values in ranges.items()}
    for corner in product(*ends.values()):
        yield from _settled(workload, {**sizes, **dict(zip(ends, corner, strict=True))}, held)
    small = {name: values[0] for name, values in ranges.items()}
    for monomial in formula.terms:
        for doublings in range(1, _MAX_DOUBLINGS + 1):
            grown = {a: ranges[a][-1] << doublings for a in set(monomial) if a in ranges}
            yield from _settled(workload, {**sizes, **small, **grown}, held)


def _settled(
    workload: Workload, sizes: Mapping[str, int], held: Mapping[str, int]
) -> Iterator[dict[str, int]]:
    point = workload.settle(sizes)
    if point is not None and all(point.get(axis, size) == size for axis, size in held.items()):
        yield dict(point)


def compare(
    locked: Entry,
    now: Entry,
    workload: Workload,
    scenarios: Sequence[Mapping[str, int]] = (),
) -> Difference:
    """How a law differs from the locked one that was found around the same sizes.

    It grew where a formula of it is not provably at most a locked one for all sizes, and sizes
    are found at which it is larger; or where an exact run at a named scenario takes a byte more.

    **Does not prove:** that a law grew nowhere else than at the sizes shown.

    Args:
        locked: the promise.
        now: the same subject's entry as it is now.
        workload: its axes say how far sizes go.
        scenarios: further sizes to look at.
    """
    growths: list[Growth] = []
    open_questions: list[str] = []
    for then, found in _pairs(locked, now):
        grown, unknown = _grown(then, found, workload, scenarios)
        growths.extend(grown)
        open_questions.extend(unknown)
    growths.extend(_moved(locked, now))
    growths = _worst_first(growths)
    over = "" if growths else _over_at_a_scenario(locked, now)
    if growths or over:
        return Difference(now.key, Change.GREW, over or growth_text(growths[0]), tuple(growths))
    open_questions.extend(_lost(locked, now))
    if open_questions:
        return Difference(now.key, Change.UNDECIDED, open_questions[0])
    if _is_same(locked, now):
        return Difference(now.key, Change.SAME, "the law is as locked")
    return Difference(now.key, Change.SHRANK, _gain(locked, now))


def _pairs(locked: Entry, now: Entry) -> list[tuple[Law, Law]]:
    """The laws found around the same sizes, then and now."""
    others = {_place(law): law for law in locked.elsewhere}
    pairs = [(others[_place(law)], law) for law in now.elsewhere if _place(law) in others]
    return [(locked.law, now.law), *pairs]


def _place(law: Law) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(law.sizes.items()))


def _grown(
    locked: Law, now: Law, workload: Workload, scenarios: Sequence[Mapping[str, int]]
) -> tuple[list[Growth], list[str]]:
    """The formulas that grew, and those of which neither growth nor the opposite can be shown."""
    lower = {axis.name: axis.lower for axis in workload.axes}
    held = {**locked.held, **now.held}
    locked_at = [regime.at(held) for regime in locked.regimes]
    growths, unknown = [], []
    for regime in now.regimes:
        formula = regime.at(held)
        if any(formula.at_most(other, lower) for other in locked_at):
            continue
        for sizes in (
            {**point, **values}
            for point in points(formula, locked_at, workload, now.sizes, held, scenarios)
            for values in quantities(now.axes, locked.axes, now.sizes)
        ):
            if formula(sizes) > max(other(sizes) for other in locked_at):
                growths.append(_growth(regime, formula, locked, now, held, sizes))
                break
        else:
            unknown.append(f"cannot show that {regime} is at most what is locked")
    return growths, unknown


def _growth(
    regime: Polynomial,
    formula: Polynomial,
    locked: Law,
    now: Law,
    held: Mapping[str, int],
    sizes: Mapping[str, int],
) -> Growth:
    """The growth of one formula, compared with the locked one that it has most in common with."""

    def distance(other: Polynomial) -> tuple[int, Fraction, int]:
        more = _larger_terms(formula, other.at(held))
        lost = len(other.terms.keys() - formula.terms.keys())
        return (
            len(more),
            sum((Polynomial({m: c})(sizes) for m, c in more.items()), Fraction()),
            lost,
        )

    nearest = min(locked.regimes, key=distance)
    # What is larger with some axes held is so without: the formulas read as in their laws.
    terms = tuple(
        GrownTerm(
            Polynomial({monomial: regime.terms[monomial]}, regime.order),
            nearest.terms.get(monomial, Fraction(0)),
            added,
        )
        for monomial, added in _larger_terms(regime, nearest).items()
    )
    return Growth(regime, nearest, terms, dict(sizes), now(sizes), locked(sizes))


def _larger_terms(now: Polynomial, locked: Polynomial) -> dict[tuple[str, ...], Fraction]:
    """By how much each coefficient is larger now; only those that are."""
    return {monomial: c for monomial, c in (now - locked).terms.items() if c > 0}


def _moved(locked: Entry, now: Entry) -> Iterable[Growth]:
    """Sizes at which one of the two has a law of its own and the peak is larger than it was."""
    then_places = {_place(law) for law in locked.elsewhere}
    now_places = {_place(law) for law in now.elsewhere}
    single = [(locked.law, law) for law in now.elsewhere if _place(law) not in then_places]
    single += [(law, now.law) for law in locked.elsewhere if _place(law) not in now_places]
    for then, found in single:
        place = found.sizes if found is not now.law else then.sizes
        sizes = {**place, **quantities(found.axes, then.axes, place)[0]}
        if found(sizes) > then(sizes):
            regime = max(found.regimes, key=lambda each: each(sizes))
            yield _growth(regime, regime, then, found, {}, sizes)


def _worst_first(growths: Sequence[Growth]) -> list[Growth]:
    """Each formula once, new terms before grown ones, then by the bytes added where it is shown."""
    once = {str(growth.now): growth for growth in reversed(growths)}
    return sorted(
        once.values(),
        key=lambda g: (all(t.locked for t in g.terms), len(g.terms), g.locked_bytes - g.now_bytes),
    )


def growth_text(growth: Growth) -> str:
    """``grew in swa_num_blocks: new term 7*swa_num_blocks``."""
    where = ", ".join(growth.axes) or "a constant"
    what = [
        f"{'the term' if each.locked else 'the new term'} {each.term}"
        + (f" (locked: {_text(each.locked)})" if each.locked else "")
        for each in growth.terms
    ]
    return f"grew in {where}: {', '.join(what) or growth.now}"


def _text(coefficient: Fraction) -> str:
    return str(Polynomial({(): coefficient}))


def _over_at_a_scenario(locked: Entry, now: Entry) -> str:
    """A named scenario at which an exact run takes more than it did; empty where there is none."""
    for name, was in locked.scenario_bytes.items():
        found = now.scenario_bytes.get(name)
        if found is not None and found > was:
            return f"grew at scenario {name}: {was:,} bytes locked, {found:,} now"
    return ""


def _lost(locked: Entry, now: Entry) -> Iterable[str]:
    """What was known when it was locked and is not known now."""
    for axis, value in now.law.held.items():
        if axis not in locked.law.held:
            note = next((n for n in now.law.notes if axis in n), "")
            why = f" ({note})" if note else ""
            yield f"{axis} is held at {value:,} now and was not when it was locked{why}"
    for name in locked.scenario_bytes:
        if name not in now.scenario_bytes:
            yield f"it cannot be run at scenario {name} any more"


def _is_same(locked: Entry, now: Entry) -> bool:
    """Whether nothing that is promised has changed."""

    def formulas(entry: Entry) -> set[tuple[object, ...]]:
        return {
            (_place(law), frozenset(law.held), frozenset(r.terms.items()))
            for law in (entry.law, *entry.elsewhere)
            for r in law.regimes
        }

    same_bytes = locked.scenario_bytes == now.scenario_bytes
    return formulas(locked) == formulas(now) and same_bytes


def _gain(locked: Entry, now: Entry) -> str:
    """``shrank: 1.00 GiB locked, 2.00 MiB now``, at the scenario where most was gained."""
    for name, was in locked.scenario_bytes.items():
        found = now.scenario_bytes.get(name, was)
        if found < was:
            return f"shrank: at scenario {name} {was:,} bytes locked, {found:,} now"
    return "shrank: no formula is larger than a locked one"
