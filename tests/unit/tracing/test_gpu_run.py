"""One call on a GPU, step by step, on a device that is not there."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import pytest
import torch
from fake_gpu import FakeGpu

from oom_suite.records import AllocatorPeaks, Workspace
from oom_suite.tracing.measure.gpu_run import KINDS, peaks_between, run_on_gpu
from oom_suite.tracing.measure.out_of_memory import FailedCall
from oom_suite.tracing.source_lines import lines_under_test

ROOT = Path(__file__).parent
INPUT_BYTES = 1000


@contextlib.contextmanager
def nothing(*, is_measured=True):
    yield


@pytest.fixture
def run():
    """`run(body)` gives the device and what one call of ``body(gpu)`` did on it."""

    def on_gpu(body, gpu=None, around=nothing):
        gpu = gpu or FakeGpu()
        lines = lines_under_test(ROOT)
        failed = FailedCall(lines)

        def make_call():
            address = gpu.take(INPUT_BYTES)
            return InputsOf(gpu, address, body)

        return gpu, run_on_gpu(gpu, make_call, lines, around, failed), failed

    return on_gpu


class InputsOf:
    """A call that frees its inputs when it dies, as tensors do."""

    def __init__(self, gpu, address, body) -> None:
        self.gpu, self.address, self.body = gpu, address, body

    def __call__(self):
        self.body(self.gpu)

    def __del__(self):
        self.gpu.give(self.address)


def two_requests(gpu):
    first = gpu.take(512)
    second = gpu.take(2048)
    gpu.give(first)
    gpu.give(second)


def test_the_history_is_the_trace_of_the_call_alone(run):
    """Neither the warm-up nor the inputs are in it; every request names its line."""
    _, done, _ = run(two_requests)
    assert [("alloc", 0), ("alloc", 1), ("free", 0), ("free", 1)] == [
        (event.kind, event.allocation) for event in done.history.events
    ]
    assert [512, 2048] == [each.requested_bytes for each in done.history.allocations]
    assert ["two_requests"] * 2 == [each.stack[0].function for each in done.history.allocations]
    assert {"test_gpu_run.py"} == {f.file for a in done.history.allocations for f in a.stack}


def test_peaks_are_above_what_was_there_before(run):
    """The inputs are subtracted, and told beside them."""
    _, done, _ = run(two_requests)
    assert AllocatorPeaks(2560, 2560, 2560, 2560) == done.peaks
    assert INPUT_BYTES == done.input_bytes


def test_what_others_hold_on_the_device_is_no_input(run):
    gpu = FakeGpu()
    gpu.take(4096)
    _, done, _ = run(two_requests, gpu)
    assert INPUT_BYTES == done.input_bytes
    assert 2560 == done.peaks.requested_bytes


def test_a_workspace_of_the_warm_up_is_named_and_in_no_peak(run):
    """What a library keeps for the stream is told with its bytes, made before the call."""
    _, done, _ = run(lambda gpu: gpu.keep_workspace(4096))
    assert (Workspace("cuBLAS", 4096, in_call=False),) == done.workspaces
    assert 0 == done.peaks.requested_bytes


def test_a_workspace_that_the_call_made_is_named_in_its_history(run):
    """Made in the call all the same, it is an allocation with the library's name."""
    calls = []

    def only_the_second_time(gpu):
        calls.append(gpu)
        if len(calls) == 2:
            gpu.keep_workspace(4096)

    _, done, _ = run(only_the_second_time)
    assert (Workspace("cuBLAS", 4096, in_call=True),) == done.workspaces
    assert ["cuBLAS workspace"] == [each.op for each in done.history.allocations]
    assert 4096 == done.peaks.requested_bytes


def test_what_the_call_leaves_behind_is_no_workspace(run):
    """A tensor that the code keeps is the allocator's, under no library's name."""
    _, done, _ = run(lambda gpu: gpu.take(64))
    assert ["allocator"] == [each.op for each in done.history.allocations]
    assert () == done.workspaces


def raising(error):
    def body(gpu):
        gpu.take(512)
        if gpu.recording:
            raise error

    return body


def test_an_error_of_the_code_is_raised_and_the_history_is_off(run):
    """Whatever the call does, nothing is left recording and no workspace is kept."""
    gpu = FakeGpu()
    with pytest.raises(ValueError, match="the code's own"):
        run(raising(ValueError("the code's own")), gpu)
    assert not gpu.recording
    assert ["history on", "history off"] == [each for each in gpu.calls if "history" in each]


def test_a_lack_of_memory_is_kept_with_the_trace_up_to_it(run):
    """The call ends there; what it asked for until then is its trace."""
    message = "CUDA out of memory. Tried to allocate 13.54 GiB. GPU 0 has 12.74 GiB free."
    gpu, done, failed = run(raising(torch.OutOfMemoryError(message)))
    assert message == failed.found.message
    assert "body" == failed.found.stack[0].function
    assert [512] == [each.requested_bytes for each in done.history.allocations]
    assert not gpu.recording


def test_a_torch_without_pools_says_so(run):
    """The call began on a stream of its own alone, and a reading tells it."""
    _, done, _ = run(two_requests, FakeGpu(has_pool=False))
    (reading,) = done.readings
    assert None is reading.num_bytes
    assert "no torch.cuda.MemPool" in reading.why_not
    assert () == run(two_requests)[1].readings


def test_what_stands_around_knows_the_warm_up_from_the_measured_call(run):
    """A limit holds for both; a meter watches the measured one alone."""
    seen = []

    @contextlib.contextmanager
    def around(*, is_measured=True):
        seen.append(f"measured: {is_measured}")
        yield
        seen.append("out")

    run(lambda gpu: seen.append("call"), around=around)
    assert ["measured: False", "call", "out", "measured: True", "call", "out"] == seen


def test_a_second_measurement_equals_the_first(run):
    """Nothing of a run is left on the device for the next one."""
    gpu = FakeGpu()
    first = run(two_requests, gpu)[1]
    held = dict(gpu.live)
    assert first == run(two_requests, gpu)[1]
    assert {} == held == gpu.live


def test_an_error_of_the_code_leaves_no_workspace(run):
    """What libraries keep for the stream is freed then, too."""

    def body(gpu):
        gpu.keep_workspace(4096)
        if gpu.recording:
            raise ValueError("the code's own")

    gpu = FakeGpu()
    with pytest.raises(ValueError, match="the code's own"):
        run(body, gpu)
    assert [] == gpu.workspaces
    assert {} == {address: size for address, size in gpu.live.items() if size == 4096}


def test_the_device_is_settled_before_the_inputs_the_call_and_the_next_one(run):
    """In one stream; the call alone is in a pool, and the device is waited for in it."""
    gpu, *_ = run(lambda gpu: gpu.calls.append("call"))
    assert [
        "stream", "call", "settle", "settle", "history on", "pool", "call", "synchronize",
        "pool left", "history off", "settle", "stream left",
    ] == gpu.calls  # fmt: skip


def test_a_workspace_is_what_clearing_frees_beyond_what_the_call_made(run):
    """Of both a part: 4,096 bytes before the call, and 100 in it, which are a block of 512."""
    calls = []

    def body(gpu):
        calls.append(1)
        gpu.workspaces.append(gpu.take(4096 if len(calls) == 1 else 512))

    _, done, _ = run(body)
    assert (Workspace("cuBLAS", 512, in_call=True), Workspace("cuBLAS", 4096)) == done.workspaces


def test_no_garbage_is_collected_in_the_measured_call(run):
    seen = []
    run(lambda gpu: seen.append((gpu.recording, gc.isenabled())))
    assert [(False, True), (True, False)] == seen


def test_peaks_of_each_kind_are_less_by_what_was_there():
    before = {f"{kind}_bytes.all.current": 10 * n for n, kind in enumerate(KINDS, 1)}
    after = {f"{kind}_bytes.all.peak": 100 * n for n, kind in enumerate(KINDS, 1)}
    assert AllocatorPeaks(90, 180, 270, 360) == peaks_between(before, after)
