"""The life of each subject: its results in order, and the steps at which its law changed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from oom_suite.history.recorded import Recorded

_TERM = re.compile(r" (?=[+-] )")
_COEFFICIENT = re.compile(r"([\d./]+(?:e[+-]?\d+)?)(?:\*|$)(.*)")
_NOISE = 1.1
"""Times that differ by less, up or down, are no step."""
_PLACES = ("python", "torch", "triton", "driver", "device", "oom_suite")


@dataclass(frozen=True, slots=True)
class TermChange:
    """A term of the formula that decides the peak at the scenario.

    Attributes:
        was: the term before; empty where there was none.
        now: the term after; empty where there is none any more.
    """

    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Step:
    """Two results, one after the other, with another law or another peak.

    Attributes:
        before: the older one.
        after: the newer one.
        terms: how the scenario's formula changed, where both are known.
        num_other_formulas: how many formulas for other sizes came or went.
        inside: what kernels take inside came (``+``) or went (``-``).
        places: what else changed between them, each as ``torch 2.11.0 -> 2.13.0``.
        lines: the lines of the code behind it, where the larger of the two names them.
    """

    before: Recorded
    after: Recorded
    terms: tuple[TermChange, ...]
    num_other_formulas: int
    inside: tuple[str, ...]
    places: tuple[str, ...]
    lines: tuple[str, ...] = ()

    @property
    def direction(self) -> str:
        """``grew`` or ``shrank``; with the same peak ``slower``, ``faster`` or ``changed``."""
        was, now = self.before.num_bytes, self.after.num_bytes
        if was is not None and now is not None and was != now:
            return "grew" if now > was else "shrank"
        slower = _slower(self.before, self.after)
        if 1 / _NOISE <= slower <= _NOISE:
            return "changed"
        return "slower" if slower > 1 else "faster"

    @property
    def loud(self) -> Recorded:
        """The one of the two that takes more, whose lines are behind the step."""
        return self.before if self.direction == "shrank" else self.after


@dataclass(frozen=True, slots=True)
class Life:
    """The results of one subject on one workload, at the same sizes, for the same target.

    Attributes:
        results: by release, where they have one; by their commits' time, and by their own.
        steps: in the same order.
    """

    results: tuple[Recorded, ...]
    steps: tuple[Step, ...]

    @property
    def last(self) -> Recorded:
        """Its newest result."""
        return self.results[-1]


def lives(results: Iterable[Recorded]) -> list[Life]:
    """The lives that these results are of, by subject, workload, target and scenario."""
    ordered = sorted(results, key=lambda each: (_life_of(each), _moment(each)))
    found = []
    for _, group in groupby(ordered, key=_life_of):
        of_one = tuple(group)
        found.append(Life(of_one, tuple(_steps(of_one))))
    return found


def _life_of(result: Recorded) -> tuple[str, ...]:
    return (
        *(result.line, result.workload, result.target, result.scenario, result.sizes),
        *(result.kind, result.lane),
    )


def _moment(result: Recorded) -> tuple[Any, ...]:
    release: tuple[int, Version | str]
    try:
        release = (0, Version(result.release or "0"))
    except InvalidVersion:
        # Never compared with a Version: the number before it decides.
        release = (1, result.release)
    # The file's own time is that of the judging: whoever judges an old commit later is not late.
    return (*release, result.committed_at or result.made_at, result.made_at, result.key)


def _steps(results: Sequence[Recorded]) -> Iterator[Step]:
    """Each result that differs from the one before it.

    That is the last one of the same place (Python, torch, Triton, driver, device): two that take
    turns are no steps. The first one of a place follows the last one of any.
    """
    last: Recorded | None = None
    last_at: dict[tuple[str, ...], Recorded] = {}
    for result in results:
        if not result.law and result.num_bytes is None and result.elapsed_us is None:
            continue
        before = last_at.get(result.place, last)
        if before is not None and _differ(before, result):
            yield _step(before, result)
        last = last_at[result.place] = result


def _differ(before: Recorded, after: Recorded) -> bool:
    if before.num_bytes != after.num_bytes and None not in (before.num_bytes, after.num_bytes):
        return True
    if not 1 / _NOISE <= _slower(before, after) <= _NOISE:
        return True
    if not before.law or not after.law:
        return False
    was, now = json.loads(before.law), json.loads(after.law)
    return bool(
        set(was["formulas"]) != set(now["formulas"]) or sorted(was["inside"]) != now["inside"]
    )


def _slower(before: Recorded, after: Recorded) -> float:
    """How many times as long the newer one took; 1 where that is not known."""
    if not before.elapsed_us or not after.elapsed_us:
        return 1.0
    return after.elapsed_us / before.elapsed_us


def _step(before: Recorded, after: Recorded) -> Step:
    was, now = (json.loads(each.law or "{}") for each in (before, after))
    formulas, inside = ((was.get(name, []), now.get(name, [])) for name in ("formulas", "inside"))
    both = bool(before.law and after.law)
    return Step(
        before,
        after,
        terms=tuple(_term_changes(formulas[0][0], formulas[1][0])) if both else (),
        num_other_formulas=len(set(formulas[0][1:]) ^ set(formulas[1][1:])) if both else 0,
        inside=(
            *(f"- {each}" for each in inside[0] if both and each not in inside[1]),
            *(f"+ {each}" for each in inside[1] if both and each not in inside[0]),
        ),
        places=tuple(
            f"{name} {was_there or 'none'} -> {is_there or 'none'}"
            for name in _PLACES
            if (was_there := getattr(before, name)) != (is_there := getattr(after, name))
        ),
    )


def _term_changes(was: str, now: str) -> Iterator[TermChange]:
    then, after = _terms(was), _terms(now)
    for axes in dict.fromkeys((*then, *after)):
        if then.get(axes) != after.get(axes):
            yield TermChange(then.get(axes, ""), after.get(axes, ""))


def _terms(formula: str) -> dict[str, str]:
    """Each term by its axes: ``{"swa_num_blocks": "65536*swa_num_blocks", "": "8"}``."""
    found = {}
    for part in _TERM.split(formula):
        term = part.removeprefix("+ ")
        match = _COEFFICIENT.fullmatch(term.removeprefix("- ").removeprefix("-"))
        found[match[2] if match else term.removeprefix("- ")] = term
    return found


def lines_of(body: Mapping[str, Any], terms: Sequence[TermChange]) -> tuple[str, ...]:
    """The lines behind a step, as the JSON of one of its results names them.

    Args:
        body: of a check or a scan, which blame lines where a promise is broken, or of a law,
            which has them for each term.
        terms: those that changed.
    """
    changed = {each for change in terms for each in (change.was, change.now)}
    if "blame" in body:
        return tuple(
            f"{each['file']}:{each['line']} ({each['function']}) "
            f"{each['bytes_per_unit']:,.10g} bytes per {each['axis']}"
            for each in body["blame"]
        )
    if body.get("where"):
        return (str(body["where"]),)
    return tuple(
        f"{line['where']} {term['text']}"
        for term in body.get("terms", ())
        if term["text"] in changed
        for line in term["lines"]
        if line["where"]
    )
