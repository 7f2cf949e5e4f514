"""Finds reads of memory that the step was not given, and shrinks the step that shows one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit
from oom_suite.safety.guarded import (
    PoisonedMemory,
    fill_unreferenced,
    guard_step,
    poison_free_memory,
)
from oom_suite.safety.poison import LARGE, NAN, POISONS, ZERO
from oom_suite.safety.steps import Answer, answer, plain_steps
from oom_suite.tracing.source_lines import SourceLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oom_suite.records.safety import Region
    from oom_suite.safety.guarded import GuardedStep
    from oom_suite.safety.poison import Poison
    from oom_suite.safety.steps import Target
    from oom_suite.workloads.variants import Variant


Item = TypeVar("Item")


def smallest(items: Sequence[Item], changes: Callable[[Sequence[Item]], bool]) -> tuple[Item, ...]:
    """A part of the items that changes the result, halved until no half alone does."""
    left = tuple(items)
    while len(left) > 1:
        half = len(left) // 2
        if changes(left[:half]):
            left = left[:half]
        elif changes(left[half:]):
            left = left[half:]
        else:
            break
    return left


def narrowed(region: Region, changes: Callable[[Region], bool]) -> Region:
    """A run of bytes within a region that changes the result, and not without its first or last.

    Args:
        region: all of it changes the result.
        changes: whether a part of it does; a part of what changes nothing must not change it.
    """
    end = region.first_byte + region.num_bytes

    def part(first: int, stop: int) -> Region:
        return replace(region, first_byte=first, num_bytes=stop - first)

    first = _last_true(region.first_byte, end - 1, lambda at: changes(part(at, end)))
    stop = -_last_true(-end, -first - 1, lambda at: changes(part(first, -at)))
    return part(first, stop)


def _last_true(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The last number from `low` to `high` for which it holds; it holds for `low`."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


NOT_PROVED = (
    "What is read and then has no influence on the result; memory beyond the red zones; "
    "memory that a kernel or library takes inside itself."
)
MAX_HITS = 4
"""Hits a step: the rest of an over-read says no more."""


class Reads:
    """Poisons all that a step does not reference, and all that nobody wrote.

    The result must keep every bit. Three poisons: NaN; large finite values, for code that takes
    NaN out (``x != x``); zeros. What changes the result is halved until the smallest region
    that does is left, and that is the hit.

    **Does not prove:** that nothing else is read: what is read and discarded (a decode of the
    whole pool, padding that reads slot 0) leaves no trace in the result. Nor anything about
    memory beyond the red zones, or inside kernels and libraries.
    """

    name = "reads"
    needs: tuple[str, ...] = ("variants",)

    def __call__(self, target: Target) -> Finding:
        """The verdict on reads."""
        hits: list[Hit] = []
        num_bytes = 0
        for seed, variant in enumerate(plain_steps(target)):
            tried = _PoisonedStep(target, variant, seed)
            if tried.plain.outputs is None:
                reason = f"a plain step ({variant.name}) raised {tried.plain.error}"
                return Finding(self.name, Verdict.INCONCLUSIVE, reason, not_proved=NOT_PROVED)
            if tried.is_unsteady():
                reason = f"two equal calls ({variant.name}) gave different bits"
                return Finding(self.name, Verdict.INCONCLUSIVE, reason, not_proved=NOT_PROVED)
            num_bytes += sum(part.num_bytes for part in tried.parts)
            hits.extend(tried.hits())
        if hits:
            reason = f"the result depends on {hits[0].text}"
            return Finding(self.name, Verdict.FAIL, reason, tuple(hits), (), NOT_PROVED)
        reason = f"{num_bytes:,} unreferenced bytes poisoned in three ways, not a bit changed"
        return Finding(self.name, Verdict.PASS, reason, not_proved=NOT_PROVED)


def _key(region: Region) -> tuple[object, ...]:
    """What makes two regions the same, whichever byte in them is the first that is read."""
    return region.tensor, region.what, region.block, region.slot


class _PoisonedStep:
    """One step, its result on harmless memory, and what poison changes."""

    def __init__(self, target: Target, variant: Variant, seed: int) -> None:
        self._target = target
        self._guarded: GuardedStep = guard_step(target, variant.make())
        fill_unreferenced(self._guarded, seed)
        self._where = variant.name
        self.parts = self._guarded.unreferenced()
        self._lines = SourceLines(target.root, answer.__code__)
        self._memory = {
            name: buffer.memory.clone() for name, buffer in self._guarded.buffers.items()
        }
        self.plain = self._run()

    def is_unsteady(self) -> bool:
        """Whether the same call gives different bits."""
        return self._run() != self.plain

    def hits(self) -> list[Hit]:
        """What poison reveals, no region twice."""
        found: dict[tuple[object, ...], Hit] = {}
        for poison in POISONS:
            # What one poison has shown is not searched for with the next.
            left = [part for part in self.parts if _key(part) not in found]
            for region in self._regions_read(left, poison, MAX_HITS - len(found)):
                found[_key(region)] = self._read_hit(region, poison)
        return [*list(found.values())[:MAX_HITS], *self._unwritten_reads()]

    def _run(self, poisoned: Sequence[Region] = (), poison: Poison = ZERO) -> Answer:
        """The answer with poison in these regions, and all else as at first."""
        return self._called(poisoned, poison, PoisonedMemory(ZERO, self._lines.stack))

    def _called(self, poisoned: Sequence[Region], poison: Poison, fresh: PoisonedMemory) -> Answer:
        poison_free_memory(self._target.device, fresh.poison)
        for name, buffer in self._guarded.buffers.items():
            buffer.memory.copy_(self._memory[name])
        for region in poisoned:
            self._guarded.fill(region, poison)
        with fresh:
            return answer(self._target, self._guarded.step)

    def _regions_read(
        self, left: list[Region], poison: Poison, num_wanted: int
    ) -> Iterator[Region]:
        def changes(regions: Sequence[Region]) -> bool:
            return self._run(regions, poison) != self.plain

        num_found = 0
        while num_found < num_wanted and changes(left):
            for region in smallest(left, changes):
                left.remove(region)
                num_found += 1
                whole = region.tensor not in self._guarded.slots or not changes([region])
                exact = region if whole else narrowed(region, lambda part: changes([part]))
                yield self._guarded.measured(exact)

    def _read_hit(self, region: Region, poison: Poison) -> Hit:
        place = "" if region.block is None else f" block {region.block}"
        place += "" if region.slot is None else f" slot {region.slot}"
        end = region.first_byte + region.num_bytes - 1
        far = (
            ""
            if region.distance_bytes is None
            else (f", {region.distance_bytes:,} bytes from the nearest referenced")
        )
        text = (
            f"{region.what} of {region.tensor}{place}, bytes {region.first_byte:,} to {end:,}"
            f"{far} ({poison.name} poison, {self._where})"
        )
        return Hit(f"reads-{region.what.replace(' ', '-')}", text, None, region)

    def _unwritten_reads(self) -> Iterator[Hit]:
        """The lines whose fresh memory reaches the result unwritten."""
        for poison in (NAN, LARGE):
            fresh = PoisonedMemory(poison, self._lines.stack)
            if self._called((), ZERO, fresh) == self.plain:
                continue

            def changes(chosen: Sequence[int], poison: Poison = poison) -> bool:
                fresh = PoisonedMemory(poison, self._lines.stack, chosen)
                return self._called((), ZERO, fresh) != self.plain

            for index in smallest(range(len(fresh.lines)), changes):
                frame = fresh.lines[index]
                where = "" if frame is None else f" at {frame}"
                text = f"memory that nobody wrote{where} ({poison.name} poison, {self._where})"
                yield Hit("reads-uninitialised-memory", text, frame)
            return
