"""One call on the CPU: its requests from dispatch, and the process's own peak beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.records import Reading
from oom_suite.targets import process_memory
from oom_suite.tracing.measure.out_of_memory import warm_up
from oom_suite.tracing.overlaps import Overlaps
from oom_suite.tracing.recorder import Recorder
from oom_suite.tracing.starting import watched
from oom_suite.tracing.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from oom_suite.tracing.measure.out_of_memory import FailedCall
    from oom_suite.tracing.source_lines import SourceLines

RESIDENT = "process resident, peak above the call's start"
_METER = "VmHWM"


def run_on_cpu(
    make_call: Callable[[], Callable[[], object]],
    lines: SourceLines,
    around: Callable[..., AbstractContextManager[object]],
    failed: FailedCall,
) -> tuple[Recorder, Reading]:
    """The recorder of one call, warmed up by another, and the process's resident peak.

    Args:
        make_call: builds the inputs, and gives the call.
        lines: names the code under test.
        around: entered around each call; with ``is_measured=False`` around the warm-up.
        failed: keeps what is to be said of a call that runs out of memory.

    **Does not prove:** that the resident peak is the call's alone: other threads, and pages
    that are not touched, make it differ from what was requested.
    """
    with watched():
        return _run_on_cpu(make_call, lines, around, failed)


def _run_on_cpu(
    make_call: Callable[[], Callable[[], object]],
    lines: SourceLines,
    around: Callable[..., AbstractContextManager[object]],
    failed: FailedCall,
) -> tuple[Recorder, Reading]:
    warm_up(make_call, around)
    Threads((), Overlaps(), lines).finish()
    recorder = Recorder(torch.device("cpu").type, lines)
    threads = recorder.threads = Threads((recorder,), recorder.overlaps, lines)
    with threads.recorded():
        call = make_call()
    # What the warm-up left to the C library would hide as much of the call's own memory.
    process_memory.give_back()
    before_bytes = process_memory.resident_bytes()
    has_reset = process_memory.reset_peak()
    with around(), threads.recorded():
        try:
            recorder.record(call)
        except Exception as error:
            if not failed.takes(error):
                raise
    peak_bytes = process_memory.peak_resident_bytes()
    if not has_reset or peak_bytes is None:
        why = "this system cannot count it from a moment on"
        return recorder, Reading(_METER, RESIDENT, None, why)
    return recorder, Reading(_METER, RESIDENT, max(0, peak_bytes - before_bytes))
