"""The measure lane: the code with real tensors, and what the machine says beside the trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite import process_memory
from oom_suite.errors import LaneError
from oom_suite.lanes.recorder import Recorder, lines_under_test

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from oom_suite.lanes.protocol import Build
    from oom_suite.records import Trace


class MeasureLane:
    """Runs a call with real tensors on a CPU, CUDA or HIP device.

    The call runs twice: once to warm up (workspaces, caches, lazy initialisation), once
    recorded. On a GPU the allocator's own peaks stand beside the trace, on a CPU the
    process's resident peak.

    Does not prove: that the process's peak is the call's alone; other threads and the
    allocator's own slack are in it.
    """

    name = "measure"

    def __init__(self, root: Path, device: str) -> None:
        """Show source files relative to `root`; run on `device` (HIP devices are ``cuda``).

        Raises:
            LaneError: there is no such device.
        """
        self._lines = lines_under_test(root)
        self._device = _device(device)

    def run(self, build: Build, sizes: Mapping[str, int]) -> Trace:
        """The trace of one warmed-up call of ``build(sizes, device)``."""
        build(sizes, self._device)()
        recorder = Recorder(self._device.type, self._lines)
        with recorder:
            call = build(sizes, self._device)
        if self._device.type == "cpu":
            process = _beside_on_cpu(recorder, call)
        else:
            process = _beside_on_gpu(recorder, call, self._device)
        return recorder.trace(self.name, sizes, process)


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
    except RuntimeError:
        msg = f"device {text!r} is not one that torch {torch.__version__} knows: try cpu or cuda"
        raise LaneError(msg) from None
    if device.type not in {"cpu", "cuda"}:
        msg = f"device {text!r} cannot be measured: choose cpu or cuda (HIP devices are cuda)"
        raise LaneError(msg)
    num_gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and num_gpus <= (device.index or 0):
        seen = f"{num_gpus} GPUs" if num_gpus else "no GPU"
        msg = f"device {text!r} was asked for, and torch {torch.__version__} sees {seen} here"
        raise LaneError(msg)
    return device


def _beside_on_cpu(recorder: Recorder, call: Callable[[], object]) -> dict[str, int]:
    # What the warm-up left to the C library would hide as much of the call's own memory.
    process_memory.give_back()
    before_bytes = process_memory.resident_bytes()
    has_reset = process_memory.reset_peak()
    _record(recorder, call)
    peak_bytes = process_memory.peak_resident_bytes()
    if not has_reset or peak_bytes is None:
        return {}
    return {"peak_resident_bytes": max(0, peak_bytes - before_bytes)}


def _beside_on_gpu(
    recorder: Recorder, call: Callable[[], object], device: torch.device
) -> dict[str, int]:
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_stats(device)
    _record(recorder, call)
    torch.cuda.synchronize(device)
    after = torch.cuda.memory_stats(device)
    return {
        f"peak_{key}_bytes": after[f"{key}_bytes.all.peak"] - before[f"{key}_bytes.all.current"]
        for key in ("requested", "allocated", "active", "reserved")
    }


def _record(recorder: Recorder, call: Callable[[], object]) -> None:
    with recorder:
        recorder.record(call)
