"""Who is in a replay, what each is predicted to do, and whether the device has room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from oom_suite.allocator import replay as allocate
from oom_suite.records.replay import Prediction, Role
from oom_suite.subjects import family_of, parse
from oom_suite.units import format_bytes
from oom_suite.workloads.sparse_mla.workload import DECODE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.records import Allocation, SubjectSpec, Trace
    from oom_suite.targets.free_memory import FreeMemory


CULPRIT = "vllm==0.21.0"
STAND_IN = "full_dequant"
"""Runs for the culprit where the release cannot be had."""
FIXES = ("block_compaction", "token_gather", "streaming", "vllm==0.33.0")
FIRST_GOOD = Version("0.22.0")
"""Source: `oom-suite bisect --bad vllm==0.21.0`; vllm-project/vllm issue 41962."""

Cast = tuple[tuple["SubjectSpec", Role], ...]


def cast(subjects: Sequence[str]) -> Cast:
    """The subjects with their roles, culprits first; the default ones when none is named.

    Raises:
        UsageError: a spelling cannot be read.
    """
    specs = [parse(text) for text in subjects or (CULPRIT, *FIXES)]
    named = [(spec, role_of(spec)) for spec in dict.fromkeys(specs)]
    return tuple(sorted(named, key=lambda one: one[1] is not Role.CULPRIT))


def role_of(spec: SubjectSpec) -> Role:
    """A culprit is what is known for the bug; everything else is held to run."""
    if spec.version is not None and spec.family == parse(CULPRIT).family:
        is_bad = Version(spec.version) < FIRST_GOOD
    else:
        is_bad = bool(family_of(spec).known_bug(spec, DECODE))
    return Role.CULPRIT if is_bad else Role.FIX


def predict(trace: Trace, headroom_bytes: int, device: str) -> Prediction:
    """The first request that a headroom cannot serve, and what is held until then.

    On a GPU the caching allocator is modelled, with its rounding, its segments and what it gives
    back before it gives up; on a CPU requests count as they were made.

    **Does not prove:** anything for other settings of the allocator than PyTorch's defaults.
    """
    failed, held_bytes = (_on_cpu if device == "cpu" else _on_gpu)(trace, headroom_bytes)
    peak_bytes = trace.peak().num_bytes
    if failed is None:
        return Prediction(trace.input_bytes, peak_bytes, held_bytes=held_bytes)
    where = failed.stack[0] if failed.stack else None
    return Prediction(trace.input_bytes, peak_bytes, failed.requested_bytes, where, held_bytes)


def _on_gpu(trace: Trace, headroom_bytes: int) -> tuple[Allocation | None, int]:
    replayed = allocate(trace, limit_bytes=headroom_bytes)
    failed = replayed.failed_allocation
    held_bytes = replayed.peaks.requested_bytes
    return None if failed is None else trace.allocations[failed], held_bytes


def _on_cpu(trace: Trace, headroom_bytes: int) -> tuple[Allocation | None, int]:
    live_bytes = held_bytes = 0
    for event in trace.events:
        allocation = trace.allocations[event.allocation]
        if event.kind == "free":
            live_bytes -= allocation.requested_bytes
            continue
        live_bytes += allocation.requested_bytes
        if live_bytes > headroom_bytes:
            return allocation, held_bytes
        held_bytes = max(held_bytes, live_bytes)
    return None, held_bytes


def shortage(
    memory: FreeMemory, device: str, headroom_bytes: int, predictions: Sequence[Prediction]
) -> str:
    """What is missing for the inputs and the headroom, in one line; empty where nothing is.

    On a GPU the inputs and the headroom must be free. On a CPU the inputs are pages that nobody
    touches, and so is a request that fails: only what the calls will hold must be there.
    """
    input_bytes = max((one.input_bytes for one in predictions), default=0)
    held_bytes = max((one.held_bytes for one in predictions), default=0)
    if device != "cpu":
        needed_bytes = input_bytes + headroom_bytes
        if memory.free_bytes >= needed_bytes:
            return ""
        return (
            f"the inputs take {format_bytes(input_bytes)} and the headroom "
            f"{format_bytes(headroom_bytes)}: {format_bytes(needed_bytes)} must be free on {device}"
            f" ({memory.name}), and {format_bytes(memory.free_bytes)} are"
        )
    if memory.free_bytes < held_bytes:
        return (
            f"a call would hold {format_bytes(held_bytes)} in this headroom, and the system has "
            f"{format_bytes(memory.free_bytes)} available: give a smaller --headroom"
        )
    needed_bytes = input_bytes + headroom_bytes
    if memory.reservable_bytes is not None and memory.reservable_bytes < needed_bytes:
        return (
            f"the system promises no more memory than it has (vm.overcommit_memory is 2): "
            f"{format_bytes(needed_bytes)} must be free for the inputs and the headroom, and "
            f"{format_bytes(memory.reservable_bytes)} are"
        )
    return ""
