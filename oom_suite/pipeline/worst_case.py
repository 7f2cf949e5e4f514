"""Where data decides sizes: which of them is the worst case, and whether that can be shown.

The shadow lane takes all of what data may choose. That is the worst case where requests only grow
with it. So the code is run with less, too: half of it, one, none; and where several masks share
one whole, with all of it for each of them in turn.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.derive import derive
from oom_suite.laws.judge import judge
from oom_suite.pipeline.advising import EACH_SIDE
from oom_suite.records import Verdict
from oom_suite.tracing.lane_spec import EACH, HALF, MOST, NONE, ONE, to_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from oom_suite.laws.branches import Branch
    from oom_suite.laws.derivation import Derivation
    from oom_suite.laws.judge import Judgement
    from oom_suite.laws.proof import Proof
    from oom_suite.pipeline.runs import Runs
    from oom_suite.records import Trace, Workload
    from oom_suite.records.symbolic import Guard

    Found = tuple[Derivation, Judgement]

_MAX_PARTS = 16
"""Masks of one whole, at most, that all of it is given to in turn."""

_MAX_TRIED = 64
_MAX_DOUBLINGS = 40
"""How far a condition on a data-decided size is evaluated."""

_LESS = {NONE: "none of", ONE: "one of", HALF: "half of"}


def worst_case(
    runs: Runs, workload: Workload, sizes: Mapping[str, int], found: Found, proof: Proof
) -> Found:
    """The law and the verdict of the worst that data may choose.

    A verdict that is worse with less is taken, and so is a larger peak. `runs` takes the choice
    from then on that the law is of.

    Args:
        runs: of the program; the law found takes all of what data may choose.
        workload: its axes are varied.
        sizes: the scenario.
        found: that law and its verdict.
        proof: the proof; it knows the conditions that the code puts on such sizes.
    """
    if not found[0].trace.data_sizes:
        return found
    found = _shared(runs, workload, sizes, found)
    if found[1].verdict is Verdict.FAIL:
        return found
    if _only_grows(proof):
        return found
    for choice, words in _LESS.items():
        less = _with(runs, workload, sizes, choice)
        if less is None:
            continue
        where = f", where data chooses {words} what it may"
        if less[1].verdict is Verdict.FAIL:
            runs.choice = choice
            return less[0], replace(less[1], reason=f"{less[1].reason}{where}")
        if _peak(less) > _peak(found):
            runs.choice = choice
            note = f"the most bytes are taken{where}"
            found = less[0], replace(less[1], notes=(*less[1].notes, note))
    guard = None if found[1].verdict is not Verdict.PASS else _undecided(proof)
    if guard is None:
        return found
    reason = f"the code does one thing or another by a size that data decides: {guard}"
    undecided = replace(found[1], verdict=Verdict.INCONCLUSIVE, reason=reason, advice=(EACH_SIDE,))
    return found[0], undecided


def largest(
    runs: Runs, sizes: Mapping[str, int], scratch: str = "", *, target: str | None = None
) -> Trace:
    """The exact trace of the most that a call takes at these sizes, as far as it is known.

    Args:
        runs: of the program; its choice is that of the largest peak at the law's own sizes.
        sizes: the axes' values.
        scratch: as of `Runs.known`.
        target: as of `Runs.known`.

    Raises:
        ChildError: the code cannot be run.
    """
    found = [
        runs.known(sizes, scratch, target=target, choice=choice)
        for choice in dict.fromkeys((runs.choice, MOST))
    ]
    return max(found, key=lambda trace: trace.peak().num_bytes)


def _with(runs: Runs, workload: Workload, sizes: Mapping[str, int], choice: str) -> Found | None:
    """The law with so much of what data may choose; None where the code cannot be run so."""
    try:
        derivation = derive(lambda at: runs.known(at, choice=choice), workload, sizes)
    except OomSuiteError:
        return None
    return derivation, judge(derivation, workload)


def _shared(runs: Runs, workload: Workload, sizes: Mapping[str, int], found: Found) -> Found:
    """The law of the worst split, where several masks share one whole."""
    if _num_parts(found[0].trace) == 1:
        return found
    compared = _compared(runs, sizes)
    # As if each could have all of it: never less than any split, and most often no more.
    bound = {n: _peak_at(runs, EACH, at) for n, at in enumerate(compared)}
    first = {n: _peak_at(runs, MOST, at) for n, at in enumerate(compared)}
    if bound == first:
        return found
    num_parts = max(_num_parts(runs.known(at)) for at in compared)
    worst = EACH
    if num_parts <= _MAX_PARTS:
        worst = max(
            (MOST, *map(to_part, range(1, num_parts))),
            key=lambda choice: sum(_peak_at(runs, choice, at) for at in compared),
        )
    if worst == MOST:
        return found
    other = _with(runs, workload, sizes, worst)
    if other is None:
        return found
    runs.choice = worst
    return other


def _num_parts(trace: Trace) -> int:
    return max((each.num_parts for each in trace.data_sizes), default=1)


def _compared(runs: Runs, sizes: Mapping[str, int]) -> list[Mapping[str, int]]:
    """The scenario, and the largest sizes that were run."""
    known = runs.known_sizes
    largest = max(known, key=lambda at: runs.known(at).peak().num_bytes, default=sizes)
    return [sizes, largest]


def _peak_at(runs: Runs, choice: str, sizes: Mapping[str, int]) -> int:
    try:
        return runs.known(sizes, choice=choice).peak().num_bytes
    except OomSuiteError:
        return 0


def _peak(found: Found) -> int:
    return found[0].trace.peak().num_bytes


def _only_grows(proof: Proof) -> bool:
    """Whether the proved laws only grow with what data decides, and rest on no condition on it."""
    branches = _branches(proof)
    for branch in branches:
        decided = {q.name for q in branch.trace.quantities if q.value is None}
        if any(guard.formula.names & decided for guard in branch.trace.guards):
            return False
        terms = (item for regime in branch.law.regimes for item in regime.terms.items())
        if any(number < 0 and decided.intersection(names) for names, number in terms):
            return False
        if any(_within(q.name, decided) for q in branch.trace.quantities if q.value is not None):
            return False
    return bool(branches)


def _branches(proof: Proof) -> tuple[Branch, ...]:
    return (*((proof.main,) if proof.main is not None else ()), *proof.branches)


def _within(text: str, names: Iterable[str]) -> bool:
    """Whether a function of sizes, which may fall where they grow, is one of these."""
    return any(re.search(rf"\b{name}\b", text) for name in names)


def _undecided(proof: Proof) -> Guard | None:
    """A condition on data-decided sizes whose other side none of the runs with less is sure on."""
    for branch in _branches(proof):
        decided = {q.name: q for q in branch.trace.quantities if q.value is None}
        hints = branch.trace.hints.sizes
        for guard in branch.trace.guards:
            names = guard.formula.names & decided.keys()
            if names and not _is_tried(guard, names, hints):
                return guard
    return None


def _is_tried(guard: Guard, names: frozenset[str], hints: Mapping[str, int]) -> bool:
    """Whether a condition is false at most where a size is none or one, both of which are run."""
    if len(names) != 1 or not guard.formula.names - names <= hints.keys():
        return False
    (name,) = names
    try:
        return all(guard.formula({**hints, name: value}) for value in _values(guard, hints))
    except (ArithmeticError, ValueError, TypeError):
        return False


def _values(guard: Guard, hints: Mapping[str, int]) -> Iterator[int]:
    """Values from 2 on at which a condition may change: small ones, powers, numbers in it."""
    numbers = [*map(int, re.findall(r"\d+", guard.formula.text)), *hints.values()]
    near = (number + away for number in numbers for away in (-1, 0, 1))
    powers = (1 << doublings for doublings in range(1, _MAX_DOUBLINGS))
    yield from (value for value in (*range(2, _MAX_TRIED), *powers, *near) if value >= 2)
