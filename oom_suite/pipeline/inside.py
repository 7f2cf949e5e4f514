"""What kernels take inside counts: budgets and bounds are judged with it, seen or bounded.

The law of ``generic`` has what dispatch sees. What its operators take beside that is predicted
for the kernels of a real target, and named where it decides a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite.allocator import peaks_of
from oom_suite.errors import OomSuiteError
from oom_suite.laws.kernel_terms import growth, kernel_terms
from oom_suite.laws.words import join, listed
from oom_suite.pipeline.advising import OPAQUE, TARGET
from oom_suite.pipeline.proved import weakened
from oom_suite.pipeline.worst_case import largest
from oom_suite.records import Breach, BudgetFit, Verdict
from oom_suite.records.libraries import LIBRARIES
from oom_suite.targets.target import target
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Result, Trace, Unseen
    from oom_suite.targets.budgets import Budget

CUDA = "cuda:sm_90"
"""Whose kernels stand for those of ``generic``."""

_MAX_SIZES = 64
_MAX_TERM_SIZES = 24
"""Runs that the terms of a law are found from; each is one more run with what kernels take."""
_MAX_NAMES = 3


@dataclass(frozen=True, slots=True)
class Inside:
    """A prediction with what kernels take inside.

    Attributes:
        seen_bytes: the allocator's peak as dispatch sees it.
        bounded_bytes: the same with what kernels take inside, at most.
        spared_bytes: the same without workspaces that libraries choose.
        takers: who takes it, and where.
        unbounded: operators that nothing bounds.
        libraries: what is known of each library's workspace.
    """

    seen_bytes: int
    bounded_bytes: int
    spared_bytes: int
    takers: tuple[str, ...]
    unbounded: tuple[Unseen, ...]
    libraries: tuple[str, ...] = ()


def scratch_of_law(settings: Settings) -> str:
    """The target whose kernels a law is judged with; empty for a CPU's, which are seen whole."""
    of_law = target(settings.target)
    if of_law.backend == "cpu":
        return ""
    return CUDA if of_law.backend == "generic" else of_law.name


def takes_inside(runs: Runs, settings: Settings) -> bool:
    """Whether kernels take anything inside at the scenario, whose terms more sizes tell."""
    if not scratch_of_law(settings):
        return False
    here = _predicted(runs, settings.sizes, settings)
    return here is None or bool(here.inside_bytes())


def with_opaque(result: Result, settings: Settings) -> Result:
    """Not green where a custom operator is called: whatever was promised, nobody saw its inside."""
    opaque = next((one for one in result.unseen if one.is_opaque), None)
    contract = settings.workload.contract
    is_promised = not contract.is_empty or settings.budget is not None or settings.law_text
    if opaque is None or result.verdict is not Verdict.PASS or not is_promised:
        return result
    return weakened(result, f"{_place(opaque)}: {opaque.reason}", OPAQUE)


def with_kernel_terms(result: Result, runs: Runs, settings: Settings) -> Result:
    """The law's terms for what kernels take inside, and what those say of the contract."""
    scratch, contract = scratch_of_law(settings), settings.workload.contract
    here = _predicted(runs, settings.sizes, settings) if scratch and result.law else None
    if here is None or not (here.inside_bytes() or _is_anything_named(runs)):
        return result
    found = [(dict(settings.sizes), here)]
    for sizes in _sizes_of_terms(runs, settings):
        trace = _predicted(runs, sizes, settings)
        found += [] if trace is None else [(sizes, trace)]
    axes = [axis.name for axis in settings.workload.axes]
    terms = kernel_terms(found, axes, settings.sizes, scratch)
    result = replace(result, inside=terms)
    grown = growth(found, contract, settings.sizes, scratch)
    if grown is None or result.verdict is Verdict.FAIL:
        return result
    if grown.verdict is Verdict.FAIL:
        blame = () if grown.blame is None else (grown.blame,)
        breach = Breach(dict(settings.sizes), seen=grown.reason)
        return replace(
            result, verdict=Verdict.FAIL, reason=grown.reason, blame=blame, breach=breach
        )
    return weakened(result, grown.reason, TARGET)


def _sizes_of_terms(runs: Runs, settings: Settings) -> list[dict[str, int]]:
    """Sizes that were run: first those that what is promised tells apart, then the others."""
    contract, start = settings.workload.contract, settings.sizes
    promised = {*contract.independent_of, *contract.linear_in}

    def others(sizes: Mapping[str, int]) -> int:
        return sum(sizes[axis] != start[axis] for axis in sizes if axis not in promised)

    known = [sizes for sizes in runs.known_sizes if sizes != dict(start)]
    return sorted(known, key=others)[:_MAX_TERM_SIZES]


def with_bound(result: Result, runs: Runs, settings: Settings) -> Result:
    """The promise ``at_most``, judged at every size that was run with what kernels take inside."""
    limit = settings.workload.contract.at_most
    if limit is None or result.verdict is not Verdict.PASS or not _is_anything_named(runs):
        return result
    named: dict[str, Unseen] = {}
    may_exceed = ""
    for sizes in runs.known_sizes[:_MAX_SIZES]:
        seen = runs.known(sizes)
        if not seen.unseen:
            continue
        predicted = _predicted(runs, sizes, settings)
        named |= {one.op: one for one in _unbounded(predicted or seen)}
        if predicted is None:
            continue
        peak_bytes, allowed_bytes = predicted.peak().num_bytes, int(limit(sizes))
        if _spared(predicted).peak().num_bytes <= allowed_bytes < peak_bytes:
            there = {axis: sizes[axis] for axis in sizes if axis in limit.axes}
            most = f"{peak_bytes:,} bytes at {listed(there)}, allowed {allowed_bytes:,}"
            may_exceed = f"peak may exceed its bound: {most}: {join(_libraries(predicted))}"
            continue
        if peak_bytes > allowed_bytes:
            there = {axis: sizes[axis] for axis in sizes if axis in limit.axes}
            seen_bytes = seen.peak().num_bytes
            reason = (
                f"peak exceeds its bound: {peak_bytes:,} bytes at {listed(there)}, "
                f"allowed {allowed_bytes:,}; {seen_bytes:,} of them are seen, the rest is taken "
                f"inside {join(_takers(seen.unseen, ()))} ({scratch_of_law(settings)})"
            )
            breach = Breach(sizes, seen=f"{peak_bytes:,} bytes, allowed {allowed_bytes:,}")
            return replace(result, verdict=Verdict.FAIL, reason=reason, breach=breach)
    if may_exceed:
        return weakened(result, may_exceed, TARGET)
    if named:
        first = next(iter(named.values()))
        return weakened(result, f"{_place(first)} takes scratch that nothing bounds", TARGET)
    return result


def unbounded_at(sizes: Mapping[str, int], runs: Runs, settings: Settings) -> str:
    """An operator whose scratch nothing bounds at these sizes; empty where there is none."""
    predicted = _predicted(runs, sizes, settings) if scratch_of_law(settings) else None
    found = _unbounded(predicted or runs.known(sizes))
    return _place(found[0]) if found else ""


def with_budget(result: Result, runs: Runs, settings: Settings) -> Result:
    """Whether the scenario fits the budget with what kernels take inside."""
    budget, seen_bytes = settings.budget, result.peak_allocated_bytes
    if budget is None or seen_bytes is None:
        return result
    if seen_bytes > budget.free_bytes:
        return _over(result, budget, f"{format_bytes(seen_bytes)} do not fit {budget.name}", 0)
    inside = _inside_at_scenario(result, runs, settings)
    if inside is None:
        return replace(result, budget=BudgetFit(budget.name, budget.free_bytes, fits=True))
    more_bytes = max(inside.bounded_bytes - seen_bytes, 0)
    if inside.spared_bytes <= budget.free_bytes < inside.bounded_bytes:
        fit = BudgetFit(budget.name, budget.free_bytes, fits=True, inside_bytes=more_bytes)
        over = (
            f"with workspaces up to {format_bytes(inside.bounded_bytes)} are asked for, and may "
            f"not fit {budget.name}: {join(inside.libraries)}"
        )
        return weakened(replace(result, budget=fit), over, TARGET)
    if inside.bounded_bytes > budget.free_bytes:
        over = (
            f"{format_bytes(inside.bounded_bytes)} do not fit {budget.name}: "
            f"{format_bytes(seen_bytes)} are seen, and up to {format_bytes(more_bytes)} more are "
            f"taken inside {join(inside.takers)} ({scratch_of_law(settings)})"
        )
        return _over(result, budget, over, more_bytes)
    fit = BudgetFit(budget.name, budget.free_bytes, fits=True, inside_bytes=more_bytes)
    result = replace(result, budget=fit)
    if inside.unbounded:
        places = join(_place(one) for one in inside.unbounded[:_MAX_NAMES])
        return weakened(
            result,
            f"nothing bounds what is taken inside {places}: it may not fit {budget.name}",
            TARGET,
        )
    return result


def _inside_at_scenario(result: Result, runs: Runs, settings: Settings) -> Inside | None:
    """What the scenario takes inside; None where nothing that it calls is named."""
    if not result.unseen:
        return None
    predicted = _predicted(runs, settings.sizes, settings)
    seen_bytes = result.peak_allocated_bytes or 0
    if predicted is None:
        return Inside(seen_bytes, seen_bytes, seen_bytes, (), result.unseen)
    bounded_bytes = peaks_of(predicted).allocated_bytes
    spared_bytes = peaks_of(_spared(predicted)).allocated_bytes
    unbounded = _unbounded(predicted)
    takers, libraries = _takers(result.unseen, unbounded), _libraries(predicted)
    return Inside(seen_bytes, bounded_bytes, spared_bytes, takers, unbounded, libraries)


def _spared(trace: Trace) -> Trace:
    """As if no library took a workspace that it may do without."""
    return trace.without(lambda allocation: allocation.op in LIBRARIES)


def _libraries(trace: Trace) -> tuple[str, ...]:
    """What is known of each library's workspace in a trace."""
    ops = dict.fromkeys(each.op for each in trace.allocations if each.op in LIBRARIES)
    return tuple(f"{op} {LIBRARIES[op]}" for op in ops)


def _predicted(runs: Runs, sizes: Mapping[str, int], settings: Settings) -> Trace | None:
    try:
        return largest(runs, sizes, scratch=scratch_of_law(settings))
    except OomSuiteError:
        return None


def _unbounded(trace: Trace) -> tuple[Unseen, ...]:
    return tuple(one for one in trace.unseen if not one.is_bounded)


def _is_anything_named(runs: Runs) -> bool:
    return any(runs.known(sizes).unseen for sizes in runs.known_sizes[:_MAX_SIZES])


def _takers(seen: Iterable[Unseen], unbounded: Iterable[Unseen]) -> tuple[str, ...]:
    """The operators that are named where only what dispatch sees is recorded, and have a bound."""
    without = {(one.op, one.stack) for one in unbounded}
    places = [_place(one) for one in seen if (one.op, one.stack) not in without]
    return tuple(dict.fromkeys(places))[:_MAX_NAMES]


def _place(unseen: Unseen) -> str:
    return f"{unseen.op} at {unseen.stack[0]}" if unseen.stack else unseen.op


def _over(result: Result, budget: Budget, over: str, inside_bytes: int) -> Result:
    fit = BudgetFit(budget.name, budget.free_bytes, fits=False, inside_bytes=inside_bytes)
    reason = f"{result.reason}; {over}" if result.verdict is Verdict.FAIL else over
    return replace(result, budget=fit, verdict=Verdict.FAIL, reason=reason)
