"""A call that ran out of memory: what it asked for, at which line, and what was free."""

from __future__ import annotations

import dataclasses
import errno
import gc
import pickle
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import LaneError
from oom_suite.records import OutOfMemory
from oom_suite.torch_compat import cuda_memory
from oom_suite.tracing.source_lines import enter_code_under_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from oom_suite.records import Frame
    from oom_suite.tracing.source_lines import SourceLines


class FailedCall:
    """Keeps the last lack of memory that it is shown.

    Args:
        lines: names the code under test.
        snapshot_folder: where the allocator's snapshot is kept; None to keep none.

    Attributes:
        found: what was kept; None while nothing failed.
    """

    def __init__(self, lines: SourceLines, snapshot_folder: str | None = None) -> None:
        self._lines = lines
        self._folder = snapshot_folder
        self.found: OutOfMemory | None = None

    def takes(self, error: BaseException) -> bool:
        """Whether an error was a lack of memory; if so it is kept, and what it held is let go."""
        found = classified(error, self._stack(error))
        if found is None:
            return False
        if self._folder is not None:
            found = dataclasses.replace(found, snapshot=keep_snapshot(self._folder))
        self.found = found
        let_go(error)
        return True

    def _stack(self, error: BaseException) -> tuple[Frame, ...]:
        frames = reversed(traceback.extract_tb(error.__traceback__))
        return self._lines.of_history(
            {"filename": each.filename, "line": each.lineno or 0, "name": each.name}
            for each in frames
        )


def warm_up(
    make_call: Callable[[], Callable[[], object]],
    around: Callable[..., AbstractContextManager[object]],
) -> None:
    """Run one call that nobody measures; a lack of memory shows again in the measured one.

    Args:
        make_call: builds the inputs, and gives the call.
        around: entered with ``is_measured=False``. Memory is as scarce as for the measured call:
            one that must fail there would otherwise take all of it here.

    Raises:
        Exception: what building the inputs raises; what the call raises, but for a lack of memory.
    """
    call = make_call()
    try:
        with around(is_measured=False):
            enter_code_under_test(call)
    except Exception as error:
        if classified(error, ()) is None:
            raise
        let_go(error)


_WORDS = re.compile(
    r"DefaultCPUAllocator: (?:can't allocate|not enough) memory"
    r"|(?:CUDA|HIP) (?:error: )?out of memory"
    r"|(?:CUBLAS|HIPBLAS|CUDNN|MIOPEN|CUSPARSE|HIPSPARSE)_STATUS_ALLOC_FAILED"
    r"|(?:cuda|hip)Error(?:MemoryAllocation|OutOfMemory)"
    r"|Triton Error \[(?:CUDA|HIP)\]: out of memory"
    r"|std::bad_alloc"
)
_EXACT = re.compile(r"[Tt]ried to allocate (\d+) bytes")
_GPU = re.compile(r"\bGPU (\d+)\b")


def classified(error: BaseException, stack: tuple[Frame, ...]) -> OutOfMemory | None:
    """What an out-of-memory error said; None when it is any other error.

    A GPU's message gives its figures to two decimals. Where torch records its allocator's
    history, they are taken from there: the request as the allocator rounded it (to 512 bytes),
    and what the driver had free. Without a history they stay None.

    Args:
        error: what the call raised.
        stack: the lines of the code under test that asked, innermost first.

    Source: torch 2.11 and 2.13 `c10/cuda/CUDACachingAllocator.cpp` (``malloc``),
    `c10/core/impl/alloc_cpu.cpp`, `aten/src/ATen/cuda/Exceptions.h`.
    """
    if not _is_out_of_memory(error):
        return None
    text = str(error)
    message = (text.strip().splitlines() or [""])[0].strip() or type(error).__name__
    exact = _EXACT.search(text)
    requested_bytes, free_bytes = (int(exact[1]) if exact else None), None
    if isinstance(error, torch.OutOfMemoryError):
        gpu = _GPU.search(text)
        recorded = _recorded(int(gpu[1]) if gpu else torch.cuda.current_device())
        if recorded is not None:
            requested_bytes, free_bytes = recorded
    return OutOfMemory(message, requested_bytes, free_bytes, stack)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


def _recorded(device_index: int) -> tuple[int, int] | None:
    """Bytes asked for and bytes free at the allocator's last failure, where it records.

    Source: torch 2.11 `torch/csrc/cuda/Module.cpp`, ``_cuda_memorySnapshot``: an entry of the
    action ``oom`` has ``size`` and ``device_free``.
    """
    if not _gpu_in_use():
        return None
    traces = cuda_memory.snapshot()["device_traces"]
    entries = traces[device_index] if device_index < len(traces) else []
    for entry in reversed(entries):
        if entry["action"] == "oom":
            return int(entry["size"]), int(entry["device_free"])
    return None


def _gpu_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch's is not annotated


def keep_snapshot(folder: str | Path) -> str:
    """The file in which the allocator's snapshot was put, for https://pytorch.org/memory_viz.

    Call it before the tensors are let go: it shows what was alive.

    Args:
        folder: where; made when it is not there. A file that is there already is kept.

    Returns:
        the file's path; empty where no GPU was used, for then there is no such allocator.

    Raises:
        LaneError: it cannot be written.

    Source: torch 2.11 `torch/cuda/memory.py`, ``_dump_snapshot``.
    """
    if not _gpu_in_use():
        return ""
    body = pickle.dumps(cuda_memory.snapshot())
    where = Path(folder)
    try:
        where.mkdir(parents=True, exist_ok=True)
        number = 1
        while (file := where / f"oom-snapshot-{number}.pickle").exists():
            number += 1
        with file.open("xb") as sink:
            sink.write(body)
    except OSError as error:
        msg = f"the allocator's snapshot cannot be written to {str(where)!r}: {error.strerror}"
        raise LaneError(msg) from error
    return str(file)


def let_go(error: BaseException) -> None:
    """Drop what the error holds: the frames of its traceback keep every tensor they name.

    Frames that still run keep theirs. On a GPU the memory goes back to the driver as well.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None
    gc.collect()
    if _gpu_in_use():
        torch.cuda.empty_cache()
