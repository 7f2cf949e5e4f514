"""A step is right wherever its blocks lie: past 2**31 and 2**32 bytes, padded, offset."""

from __future__ import annotations

import functools
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import LaneError
from oom_suite.processes.forked import in_fork
from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit, Region, by_what_was_seen
from oom_suite.safety.placements import (
    Placement,
    only_block,
    page_bytes_of,
    placed,
    placements,
)
from oom_suite.safety.poison import pools_of
from oom_suite.safety.steps import Answer, answer
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from oom_suite.safety.steps import Target

NOT_PROVED = (
    "Past the largest address tried, about 8 GiB into a pool; or with two pools in one buffer."
)
CALL_LIMIT_BYTES = 512 << 20
"""Address space that a call may add on a CPU with a pool of 8 GiB: it must not copy the pool."""

TIME_LIMIT_S = 60.0
_NO_MEMORY = ("can't allocate memory", "MemoryError", "out of memory")
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT")
_RIGHT = "the same bits"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of one placement, and the breach if it is one."""

    seen: str
    hit: Hit | None = None
    is_open: bool = False


class Addresses:
    """Places the blocks of a small step far apart, and compares the result bit for bit.

    The pools are strided and offset as vLLM lays them out, and then so large that blocks lie
    before, across and behind 2**31 and 2**32 bytes, with slots that int32 still holds. On a CPU
    the memory between the blocks is never touched and costs nothing; each such call runs in a
    fork, for a wrong address may crash it. Code that copies a whole pool cannot be shown on the
    dense one there: a fact says so, and the strided one decides.

    **Does not prove:** anything past the largest address tried, or of two pools in one buffer.
    """

    name = "addresses"
    needs: tuple[str, ...] = ("variants", "pools")

    def __call__(self, target: Target) -> Finding:
        """The verdict on addresses."""
        step = target.variants.far(target.workload, target.device, target.arch).make()
        plain = answer(target, step)
        if plain.outputs is None:
            reason = f"a plain step in a small pool raised {plain.error}"
            return Finding(self.name, Verdict.INCONCLUSIVE, reason, not_proved=NOT_PROVED)
        outcomes = {
            where.name: _isolated(target, step, plain, where) for where in _placements(target, step)
        }
        return self._judged(outcomes)

    def _judged(self, outcomes: Mapping[str, _Outcome]) -> Finding:
        facts = tuple((name, outcome.seen) for name, outcome in outcomes.items())
        hits = tuple(outcome.hit for outcome in outcomes.values() if outcome.hit is not None)
        open_ones = [(name, one.seen) for name, one in outcomes.items() if one.is_open]
        if hits:
            return Finding(self.name, Verdict.FAIL, hits[0].text, hits, facts, NOT_PROVED)
        if open_ones:
            reason = by_what_was_seen(open_ones)
            return Finding(self.name, Verdict.INCONCLUSIVE, reason, (), facts, NOT_PROVED)
        num_right = sum(one.seen == _RIGHT for one in outcomes.values())
        rest = by_what_was_seen(
            (name, one.seen) for name, one in outcomes.items() if one.seen != _RIGHT
        )
        reason = f"the same bits in {num_right} of {len(outcomes)} placements"
        reason += f"; {rest}" if rest else ", up to 8 GiB from a pool's start"
        return Finding(self.name, Verdict.PASS, reason, (), facts, NOT_PROVED)


def _isolated(target: Target, step: Mapping[str, Any], plain: Answer, where: Placement) -> _Outcome:
    run = functools.partial(_outcome, target, step, plain, where)
    if target.device.type != "cpu" or not where.is_far:
        return _freeing(run, target.device)
    try:
        return in_fork(run, TIME_LIMIT_S)
    except LaneError as error:
        seen = str(error)
        if any(name in seen for name in _CRASHES):
            return _Outcome(seen, Hit("wild-access", f"{where.name}: {seen}"))
        return _Outcome(seen, is_open=True)


def _freeing(run: functools.partial[_Outcome], device: torch.device) -> _Outcome:
    """The outcome of this run, after which a GPU's cached blocks are given back."""
    try:
        return run()
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _outcome(target: Target, step: Mapping[str, Any], plain: Answer, where: Placement) -> _Outcome:
    try:
        moved = placed(step, target.workload.pools, where, target.device)
    except LaneError as error:
        return _Outcome(str(error), is_open=True)
    if where.is_dense and target.device.type == "cpu":
        _limit_address_space(CALL_LIMIT_BYTES)
    got = answer(target, moved)
    if got == plain:
        return _Outcome(_RIGHT)
    if got.outputs is None:
        if where.is_dense and any(words in got.error for words in _NO_MEMORY):
            pool = format_bytes(where.num_bytes)
            seen = f"not run: it asks for memory that grows with the pool of {pool}"
            return _Outcome(seen)
        text = f"{where.name}: {got.error}"
        return _Outcome(got.error, Hit("refuses-placement", text))
    wrong = next(_wrong_blocks(target, step, moved), None)
    return _Outcome("another result", _wrong_hit(target, step, where, wrong))


def _wrong_blocks(
    target: Target, step: Mapping[str, Any], moved: Mapping[str, Any]
) -> Iterator[int]:
    """The blocks of the small pool that give another result when they alone are named."""
    pools = target.workload.pools
    known = pools_of(pools, step)
    for block in range(step[known[0].name].shape[0]):
        alone = only_block(step, pools, block)
        near = answer(target, alone)
        names = [pool.indices for pool in known]
        narrowed = {name: moved[name].where(alone[name] >= 0, alone[name]) for name in names}
        if answer(target, {**moved, **narrowed}) != near:
            yield block


def _wrong_hit(target: Target, step: Mapping[str, Any], where: Placement, block: int | None) -> Hit:
    if block is None:
        return Hit("wrong-address", f"{where.name}: another result than in a small pool")
    pool, there, first_byte = (
        target.workload.pools[0].name,
        where.blocks[block],
        where.first_byte(block),
    )
    num_bytes = target.variants.pool_bytes.page_bytes(step[pool])
    region = Region(pool, "referenced block", there, None, first_byte, num_bytes, 0)
    text = (
        f"{where.name}: block {there}, whose first byte is {first_byte:,} of the pool "
        f"({first_byte / 2**31:.3f} * 2**31), gives another result than in a small pool"
    )
    return Hit("wrong-address", text, None, region)


def _placements(target: Target, step: Mapping[str, Any]) -> tuple[Placement, ...]:
    pools = target.workload.pools
    num_blocks, block_size = step[pools_of(pools, step)[0].name].shape[:2]
    page_bytes = page_bytes_of(step, pools, target.variants.pool_bytes)
    return placements(num_blocks, block_size, page_bytes)


def _limit_address_space(num_bytes: int) -> None:
    """Let this process, which is a fork, add this much address space and no more."""
    num_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    ceiling = num_pages * os.sysconf("SC_PAGE_SIZE") + num_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or ceiling < hard:
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
