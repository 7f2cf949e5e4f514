"""A real capture in a CUDA or HIP graph, and its replays after every change of contents."""

from __future__ import annotations

import gc
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError, line_of
from oom_suite.records.frame import Frame
from oom_suite.records.safety import Hit
from oom_suite.safety.replay_cases import cases, copied, judged, result, write
from oom_suite.tracing.source_lines import FileNames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from oom_suite.safety.steps import Target
    from oom_suite.workloads.variants import Replay

REFUSED = "capture-refused"
COPIED = "host-copy"
_COPY_WORDS = "Cannot copy between CPU and CUDA tensors"
_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class GraphRun:
    """What a real capture showed.

    Attributes:
        hits: the refusal, or each replay that was wrong; empty when all is well.
        was_captured: whether there was a graph. If not, the process must not be used any more:
            the device's allocator may still be in the middle of a capture.
        groups: the changes that were replayed.
    """

    hits: tuple[Hit, ...]
    was_captured: bool
    groups: tuple[str, ...] = ()


def graph_replays(target: Target, replay: Replay) -> GraphRun:
    """Capture a step after a warm-up on a side stream, and replay it on changed contents.

    Raises:
        LaneError: the step fails outside of a capture too.
    """
    try:
        original = replay.first()
        wanted = cases(target, original, replay.other())
    except LaneError:
        raise
    except Exception as error:
        raise _error_without_capture(error) from error
    buffers = {name: copied(value) for name, value in original.items()}
    # A graph writes into the memory of what the call returned while it was captured.
    returned: list[Any] = [None]

    def call() -> None:
        returned[0] = target.call(**buffers)

    graph = captured(call, target.device, target.root)
    if isinstance(graph, Hit):
        return GraphRun((graph,), was_captured=False)
    hits = []
    for case in wanted:
        write(target, buffers, case, original)
        graph.replay()
        torch.cuda.synchronize(target.device)
        hits.append(judged(case, result(target, buffers, returned[0])))
    found = tuple(hit for hit in hits if hit is not None)
    return GraphRun(found, was_captured=True, groups=tuple(case.group for case in wanted))


def captured(
    call: Callable[[], object], device: torch.device, root: Path
) -> torch.cuda.CUDAGraph | Hit:
    """The graph of a call after a warm-up on a side stream, or the hit that says what refused it.

    Args:
        call: its tensors lie on the device, and stay the same from call to call.
        device: a GPU.
        root: the folder of the code under test, whose lines a refusal names.

    Raises:
        LaneError: the call fails outside of a capture too.

    Source: PyTorch 2.11 ``docs/source/notes/cuda.rst``, CUDA Graphs; ``torch/cuda/graphs.py``.
    """
    try:
        _warm_up(call, device)
    except Exception as error:
        raise _error_without_capture(error) from error
    graph = torch.cuda.CUDAGraph()
    # A collection in the middle of a capture could free what the driver would have to wait for.
    gc.collect()
    try:
        with torch.cuda.graph(graph):
            call()
    except Exception as error:
        return _refusal(error, root)
    return graph


def _error_without_capture(error: Exception) -> LaneError:
    return LaneError(f"the step fails without a capture: {line_of(error)}")


def _warm_up(call: Callable[[], object], device: torch.device) -> None:
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch does not annotate it
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    torch.cuda.synchronize(device)


def _refusal(error: BaseException, root: Path) -> Hit:
    """The first error of the chain: those after it only say that the capture was lost."""
    chain = list(_chain(error))
    first = chain[-1]
    files = FileNames(root)
    frame = next((found for one in reversed(chain) if (found := _frame(one, files))), None)
    text = line_of(first)
    kind = COPIED if _COPY_WORDS in text else REFUSED
    return Hit(kind, text, frame)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _frame(error: BaseException, files: FileNames) -> Frame | None:
    """The innermost line of the code under test."""
    for found in reversed(traceback.extract_tb(error.__traceback__)):
        shown = files.shown(found.filename)
        if shown is not None and found.lineno is not None:
            return Frame(shown, found.lineno, found.name)
    return None
