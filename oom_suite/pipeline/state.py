"""What a call leaves alive: a leak breaks any promise, and what is kept once is named."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError
from oom_suite.laws.words import listed
from oom_suite.pipeline.advising import REPEATED
from oom_suite.pipeline.proved import weakened
from oom_suite.records import Blame, Breach, Verdict
from oom_suite.records.kept import DEVICE, HOST, MEMORIES, PINNED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.pipeline.runs import Runs
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import Result, Trace
    from oom_suite.records.kept import Kept, RepeatedCalls

    Run = tuple[Mapping[str, int], Trace]

_MAX_NAMED = 3


def leaves_state(runs: Runs, sizes: Mapping[str, int]) -> bool:
    """Whether calls leave something that calls with inputs of their own would meet.

    Where calls cannot be repeated, nothing is known of it yet, and the answer is no.
    """
    try:
        return runs.repeated(sizes).num_outliving_bytes > 0
    except OomSuiteError:
        return False


def with_state(result: Result, runs: Runs, settings: Settings) -> Result:
    """The result with what further calls at the scenario leave alive.

    What one call allocates and keeps is in its law, and so is judged by its own growth: here it is
    named. Where each further call leaves more, the verdict is FAIL whatever is promised.

    Args:
        result: what is known by single calls.
        runs: of the program; further calls are made only where some run left something alive.
        settings: the sizes, and whether the host's memory is looked at.

    **Does not prove:** what happens once in more calls than were made, or a list that is emptied
    after more of them.
    """
    known = [(sizes, runs.known(sizes)) for sizes in runs.known_sizes]
    memories = list(MEMORIES) if settings.workload.host else [DEVICE]
    keeps = any(
        part is not None and part.kept
        for _, trace in known
        for part in (_part(trace, memory) for memory in memories)
    )
    if not keeps:
        return result
    try:
        calls = runs.repeated(settings.sizes)
    except OomSuiteError as error:
        return weakened(
            result, f"it keeps memory, and further calls cannot be made: {error}", REPEATED
        )
    kept = tuple(each for each in calls.kept if each.memory in memories)
    leaks = {memory: rate for memory, rate in calls.leaks.items() if memory in memories}
    once = [each for each in kept if each.memory not in leaks]
    notes = [_note(each, known, settings.sizes) for each in once[:_MAX_NAMED]]
    if once[_MAX_NAMED:]:
        rest = sum(each.num_bytes for each in once[_MAX_NAMED:])
        notes.append(f"kept besides: {rest:,} bytes by {len(once) - _MAX_NAMED} more lines")
    result = replace(result, kept=kept, notes=(*result.notes, *notes))
    for memory, rate in leaks.items():
        result = _with_leak(result, memory, rate, calls)
    return result


def _with_leak(result: Result, memory: str, rate: float, calls: RepeatedCalls) -> Result:
    """The result of a call of which each further one leaves more."""
    guilty = [each for each in calls.kept if each.memory == memory and each.num_recent_bytes]
    worst = max(guilty, key=lambda each: each.num_recent_bytes, default=None)
    name = f" of {MEMORIES[memory]}" if MEMORIES[memory] else ""
    holder = f", held by `{worst.holder}`" if worst is not None and worst.holder else ""
    at = f" at {worst.frame}" if worst is not None and worst.frame is not None else ""
    why = f"each call leaves {rate:,.10g} bytes{name} alive{at}{holder}: a leak"
    blame: tuple[Blame, ...] = ()
    if worst is not None and worst.frame is not None:
        frame = worst.frame
        blame = (Blame(frame.file, frame.line, frame.function, round(rate), "call", rate),)
    result = replace(result, leaks=(*result.leaks, why))
    if result.verdict is Verdict.FAIL:
        reason = f"{result.reason}; {why}"
        return replace(result, reason=reason, blame=(*result.blame, *blame))
    seen = f"{rate:,.10g} bytes{name} more are alive after each call"
    breach = Breach(result.sizes, seen=seen, memory=MEMORIES[memory])
    return replace(result, verdict=Verdict.FAIL, reason=why, blame=blame, breach=breach)


def _note(kept: Kept, known: Sequence[Run], sizes: Mapping[str, int]) -> str:
    """``kept by `_POSITIONS`: 512 bytes at n=64, made at memo.py:4 (positions)``."""
    holder = f" by `{kept.holder}`" if kept.holder else ""
    name = f" of {MEMORIES[kept.memory]}" if MEMORIES[kept.memory] else ""
    where = f", made at {kept.frame}" if kept.frame is not None else ""
    moving = {axis: sizes[axis] for axis in sizes if _moves(kept, known, axis)}
    at = f" at {listed(moving)}" if moving else ""
    return f"kept{holder}: {kept.num_bytes:,} bytes{name}{at}{where}"


def _moves(kept: Kept, known: Sequence[Run], axis: str) -> bool:
    """Whether, all else the same, what that line left in a call differs along an axis."""
    found: dict[object, set[int]] = defaultdict(set)
    for sizes, trace in known:
        part = _part(trace, kept.memory)
        if part is None:
            continue
        left = [part.allocations[number] for number in part.kept]
        num_bytes = sum(
            each.requested_bytes
            for each in left
            if (each.stack[0] if each.stack else None) == kept.frame
        )
        if num_bytes:
            # A call that found everything made left nothing; that says nothing of its size.
            rest = tuple(sorted(item for item in sizes.items() if item[0] != axis))
            found[rest].add(num_bytes)
    return any(len(values) > 1 for values in found.values())


def _part(trace: Trace, memory: str) -> Trace | None:
    """The trace of one memory."""
    return {DEVICE: trace, HOST: trace.host, PINNED: trace.pinned}[memory]
