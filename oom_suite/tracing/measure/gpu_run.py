"""One call on a GPU: warmed up, in an empty pool on a stream of its own, with its history."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from oom_suite.allocator import round_request
from oom_suite.records import AllocatorPeaks, Reading, Workspace
from oom_suite.tracing.measure.device_history import History, read_history
from oom_suite.tracing.measure.out_of_memory import warm_up
from oom_suite.tracing.source_lines import enter_code_under_test, no_collections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from oom_suite.tracing.measure.out_of_memory import FailedCall
    from oom_suite.tracing.source_lines import SourceLines

    Call = Callable[[], object]

_REQUESTED = "requested_bytes.all.current"
KINDS = ("requested", "allocated", "active", "reserved")


class Gpu(Protocol):
    """What a run needs of a device; `oom_suite.tracing.measure.cuda_device.CudaDevice` is one."""

    @property
    def workspace_name(self) -> str:
        """Whose workspaces `clear_workspaces` frees."""
        ...

    def own_stream(self) -> AbstractContextManager[None]:
        """Runs what is inside on one stream, always the same."""
        ...

    def own_pool(self) -> AbstractContextManager[bool]:
        """Serves what is inside from an empty pool, if it gives True."""
        ...

    def settle(self) -> None:
        """Wait for the device, and give back unused memory."""
        ...

    def synchronize(self) -> None:
        """Wait for the device."""
        ...

    def reset_peaks(self) -> None:
        """Count peaks from now on."""
        ...

    def figures(self) -> Mapping[str, int]:
        """The allocator's counters."""
        ...

    def start_history(self) -> None:
        """Record the allocator's history from now on."""
        ...

    def history(self) -> Sequence[Mapping[str, Any]]:
        """What was recorded so far."""
        ...

    def stop_history(self) -> None:
        """Record no more."""
        ...

    def clear_workspaces(self) -> None:
        """Free what libraries keep for streams."""
        ...


@dataclass(frozen=True, slots=True)
class GpuRun:
    """What one call did on a GPU.

    Attributes:
        history: its requests and frees.
        peaks: the allocator's figures, what was there before subtracted.
        workspaces: what libraries kept for the stream when the call was over.
        readings: what could not be done as it should, each with the reason.
        input_bytes: bytes that were asked for when the call's inputs were built.
    """

    history: History
    peaks: AllocatorPeaks
    workspaces: tuple[Workspace, ...]
    readings: tuple[Reading, ...]
    input_bytes: int = 0


def run_on_gpu(
    gpu: Gpu,
    make_call: Callable[[], Call],
    lines: SourceLines,
    around: Callable[..., AbstractContextManager[object]],
    failed: FailedCall,
) -> GpuRun:
    """What one call asks of the device, after another one that warmed it up.

    The warm-up makes what libraries keep for the stream. The call then begins in an empty pool,
    so that the model of the allocator can say from nothing what it will do. What was recorded
    is switched off again, and workspaces are freed, whatever the call does.

    Args:
        gpu: the device.
        make_call: builds the inputs, and gives the call.
        lines: names the code under test.
        around: entered around each call, for example a limit to its memory; with
            ``is_measured=False`` around the warm-up.
        failed: keeps what is to be said of a call that runs out of memory.

    Raises:
        LaneError: the call makes more events than are kept.
        Exception: what the warm-up raises; what the call raises, but for a lack of memory.

    **Does not prove:** what other threads of the process do meanwhile is not in it: their
    requests count too.
    """
    with gpu.own_stream():
        # A call may use up its inputs: the measured one gets new ones.
        warm_up(make_call, around)
        gpu.settle()
        before_bytes = gpu.figures()[_REQUESTED]
        call = make_call()
        input_bytes = gpu.figures()[_REQUESTED] - before_bytes
        try:
            run = _measured(gpu, call, lines, around, failed)
        finally:
            del call
            gpu.settle()
    return replace(run, input_bytes=input_bytes)


def _measured(
    gpu: Gpu,
    call: Call,
    lines: SourceLines,
    around: Callable[..., AbstractContextManager[object]],
    failed: FailedCall,
) -> GpuRun:
    with contextlib.ExitStack() as undo, no_collections():
        gpu.settle()
        gpu.start_history()
        undo.callback(gpu.stop_history)
        undo.callback(gpu.clear_workspaces)
        with around():
            gpu.reset_peaks()
            before = gpu.figures()
            with gpu.own_pool() as has_pool:
                try:
                    enter_code_under_test(call)
                except Exception as error:
                    if not failed.takes(error):
                        raise
                gpu.synchronize()
            after = gpu.figures()
        num_in_call = len(gpu.history())
        held_bytes = gpu.figures()["allocated_bytes.all.current"]
        gpu.clear_workspaces()
        kept_bytes = held_bytes - gpu.figures()["allocated_bytes.all.current"]
        name = f"{gpu.workspace_name} workspace"
        history = read_history(gpu.history(), lines.of_history, num_in_call, name)
    return GpuRun(
        history=history,
        peaks=peaks_between(before, after),
        workspaces=_workspaces(history, name, gpu.workspace_name, kept_bytes),
        readings=() if has_pool else (_NO_POOL,),
    )


_NO_POOL = Reading(
    "torch",
    "a pool of the call's own",
    None,
    "this torch has no torch.cuda.MemPool: the call began on a stream of its own alone",
)


def peaks_between(before: Mapping[str, int], after: Mapping[str, int]) -> AllocatorPeaks:
    """The peaks after a call less what was there before it, in bytes."""
    return AllocatorPeaks(
        *(after[f"{kind}_bytes.all.peak"] - before[f"{kind}_bytes.all.current"] for kind in KINDS)
    )


def _workspaces(
    history: History, operator: str, name: str, kept_bytes: int
) -> tuple[Workspace, ...]:
    """Those that the call made, then what was there before it."""
    made = tuple(
        Workspace(name, each.requested_bytes, in_call=True)
        for each in history.allocations
        if each.op == operator
    )
    earlier_bytes = kept_bytes - sum(round_request(each.num_bytes) for each in made)
    return (*made, *((Workspace(name, earlier_bytes),) if earlier_bytes > 0 else ()))
