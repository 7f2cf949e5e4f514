"""Errors as several releases of torch and its libraries word them, and others that are not it."""

from __future__ import annotations

import contextlib
import gc
import pickle
import weakref
from pathlib import Path

import pytest
import torch

from oom_suite.errors import LaneError, UsageError
from oom_suite.records import Frame
from oom_suite.tracing.measure import out_of_memory
from oom_suite.tracing.measure.out_of_memory import (
    FailedCall,
    classified,
    keep_snapshot,
    let_go,
    warm_up,
)
from oom_suite.tracing.source_lines import enter_code_under_test, lines_under_test

STACK = (Frame("decode.py", 7, "decode"),)

CUDA_211 = (
    "CUDA out of memory. Tried to allocate 13.54 GiB. GPU 0 has a total capacity of 139.80 GiB of "
    "which 12.74 GiB is free. Including non-PyTorch memory, this process has 15.95 GiB memory in "
    "use. Of the allocated memory 15.44 GiB is allocated by PyTorch, and 1.02 MiB is reserved by "
    "PyTorch but unallocated. If reserved but unallocated memory is large try setting "
    "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
CUDA_LIMITED = (
    "CUDA out of memory. Tried to allocate 13.54 GiB. GPU 0 has a total capacity of 139.80 GiB of "
    "which 123.70 GiB is free. Including non-PyTorch memory, this process has 15.95 GiB memory in "
    "use. 28.18 GiB allowed; Of the allocated memory 15.44 GiB is allocated by PyTorch, and 1.02 "
    "MiB is reserved by PyTorch but unallocated."
)
HIP = (
    "HIP out of memory. Tried to allocate 13.54 GiB. GPU 3 has a total capacity of 255.98 GiB of "
    "which 12.74 GiB is free. Of the allocated memory 216.02 GiB is allocated by PyTorch, and "
    "279.78 MiB is reserved by PyTorch but unallocated."
)
CUDA_1X = (
    "CUDA out of memory. Tried to allocate 264.00 MiB (GPU 0; 2.00 GiB total capacity; 788.51 MiB "
    "already allocated; 145.93 MiB free; 1.02 GiB reserved in total by PyTorch)"
)
CPU_213 = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 14538440704 bytes. Error code 12 (Cannot allocate memory)"
)
CPU_14 = (
    "[enforce fail at CPUAllocator.cpp:64] . DefaultCPUAllocator: can't allocate memory: you tried "
    "to allocate 2359296 bytes. Error code 12 (Cannot allocate memory)\n"
)

LACKS = {
    "CUDA, torch 2.11": (torch.OutOfMemoryError(CUDA_211), None),
    "CUDA under a limit": (torch.OutOfMemoryError(CUDA_LIMITED), None),
    "HIP": (torch.OutOfMemoryError(HIP), None),
    "CUDA, torch 1": (RuntimeError(CUDA_1X), None),
    "a GPU, below a KiB": (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 512 bytes. GPU 0 has"),
        512,
    ),
    "CPU, torch 2.13": (RuntimeError(CPU_213), 14_538_440_704),
    "CPU, torch 1.4": (RuntimeError(CPU_14), 2_359_296),
    "CPU, Windows": (
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:75] data. DefaultCPUAllocator: not enough memory: you "
            "tried to allocate 4096 bytes."
        ),
        4096,
    ),
    "cuBLAS": (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        None,
    ),
    "hipBLAS": (
        RuntimeError(
            "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"
        ),
        None,
    ),
    "the driver": (
        RuntimeError(
            "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at "
            "some other API call, so the stacktrace below might be incorrect."
        ),
        None,
    ),
    "the HIP driver": (RuntimeError("HIP error: out of memory"), None),
    "Triton": (RuntimeError("Triton Error [CUDA]: out of memory"), None),
    "Python": (MemoryError(), None),
    "the system": (OSError(12, "Cannot allocate memory"), None),
    "torch's own class, whatever it says": (torch.OutOfMemoryError("GPU 0 is full"), None),
    "C++": (RuntimeError("std::bad_alloc"), None),
    "cuDNN": (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), None),
    "MIOpen": (RuntimeError("MIOPEN_STATUS_ALLOC_FAILED"), None),
    "cuSPARSE": (RuntimeError("CUSPARSE_STATUS_ALLOC_FAILED"), None),
    "hipSPARSE": (RuntimeError("HIPSPARSE_STATUS_ALLOC_FAILED"), None),
    "an error's name": (RuntimeError("cudaErrorMemoryAllocation"), None),
    "HIP's": (RuntimeError("hipErrorOutOfMemory"), None),
}


@pytest.mark.parametrize(("error", "requested"), LACKS.values(), ids=LACKS)
def test_a_lack_of_memory_is_told_with_its_request(error, requested):
    """The message's first line, the request to the byte where it says so, and who asked."""
    found = classified(error, STACK)
    assert found.message == (str(error).strip().splitlines() or ["MemoryError"])[0]
    assert requested == found.requested_bytes
    assert (STACK, None, "") == (found.stack, found.free_bytes, found.snapshot)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
        RuntimeError("The expanded size of the tensor (12) must match the existing size (13)"),
        ValueError("CUDA out of memory. Tried to allocate 13.54 GiB"),
        UsageError("out of memory"),
        OSError(28, "No space left on device"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)
def test_any_other_error_is_not_taken_for_it(error):
    """An illegal access is not a lack of memory, nor is a message quoted by another error."""
    assert classified(error, ()) is None


def test_the_allocators_history_gives_the_figures_to_the_byte(monkeypatch):
    """The last failure recorded on the GPU that the message names."""
    failure = {"action": "oom", "size": 14_538_440_704, "device_free": 13_680_771_072}
    earlier = {"action": "oom", "size": 1, "device_free": 2}
    traces = [[], [], [], [earlier, failure, {"action": "free_completed", "size": 3}]]
    monkeypatch.setattr(out_of_memory, "_gpu_in_use", lambda: True)
    monkeypatch.setattr(torch.cuda.memory, "_snapshot", lambda: {"device_traces": traces})
    found = classified(torch.OutOfMemoryError(HIP), STACK)
    assert (14_538_440_704, 13_680_771_072) == (found.requested_bytes, found.free_bytes)


def test_without_a_failure_in_the_history_nothing_is_guessed(monkeypatch):
    """Two decimals are no bytes."""
    monkeypatch.setattr(out_of_memory, "_gpu_in_use", lambda: True)
    monkeypatch.setattr(torch.cuda.memory, "_snapshot", lambda: {"device_traces": [[]]})
    found = classified(torch.OutOfMemoryError(HIP), STACK)
    assert (None, None) == (found.requested_bytes, found.free_bytes)


def test_snapshots_are_numbered_and_load(monkeypatch, tmp_path):
    """A snapshot that is there already is kept."""
    body = {"segments": [], "device_traces": [[]]}
    monkeypatch.setattr(out_of_memory, "_gpu_in_use", lambda: True)
    monkeypatch.setattr(torch.cuda.memory, "_snapshot", lambda: body)
    folder = tmp_path / "new" / "folder"
    files = [keep_snapshot(folder), keep_snapshot(str(folder))]
    assert files == [str(folder / f"oom-snapshot-{n}.pickle") for n in (1, 2)]
    assert body == pickle.loads((folder / "oom-snapshot-2.pickle").read_bytes())


def test_a_snapshot_that_cannot_be_written_is_one_line(monkeypatch, tmp_path):
    """A file where the folder should be."""
    monkeypatch.setattr(out_of_memory, "_gpu_in_use", lambda: True)
    monkeypatch.setattr(torch.cuda.memory, "_snapshot", dict)
    (tmp_path / "taken").write_text("")
    with pytest.raises(LaneError, match=r"snapshot cannot be written to '.*taken': File exists"):
        keep_snapshot(tmp_path / "taken")


def test_where_no_gpu_was_used_there_is_no_snapshot(tmp_path):
    """Nothing is written."""
    assert keep_snapshot(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


class Held:
    """Stands for a tensor that a frame names."""


def fails(kept):
    held = Held()
    kept.append(weakref.ref(held))
    try:
        lacks(held)
    except RuntimeError as error:
        raise MemoryError from error


def lacks(held):
    raise RuntimeError("CUDA out of memory.")


def caught(kept):
    try:
        fails(kept)
    except MemoryError as error:
        return error
    return None


def test_what_an_error_holds_is_let_go():
    """Tensors of the frames that it went through are freed, its cause's too."""
    kept = []
    error = caught(kept)
    gc.collect()
    assert kept[0]() is not None
    let_go(error)
    assert kept[0]() is None
    assert (None, None) == (error.__traceback__, error.__cause__.__traceback__)


def code_under_test(error):
    raise error


def failed_call(error, **options):
    """What is kept of a call under test that raises this."""
    failed = FailedCall(lines_under_test(Path(__file__).parent), **options)
    try:
        enter_code_under_test(lambda: code_under_test(error))
    except type(error) as raised:
        return failed.takes(raised), failed.found
    return None


def test_a_failed_call_keeps_the_lines_of_the_code_innermost_first():
    took, found = failed_call(RuntimeError(CPU_213))
    assert took
    assert ["code_under_test", "<lambda>"] == [frame.function for frame in found.stack]
    assert ("test_out_of_memory.py", 14_538_440_704, "") == (
        found.stack[0].file,
        found.requested_bytes,
        found.snapshot,
    )


def test_a_failed_call_keeps_a_snapshot_where_it_is_asked_to(monkeypatch, tmp_path):
    monkeypatch.setattr(out_of_memory, "_gpu_in_use", lambda: True)
    monkeypatch.setattr(torch.cuda.memory, "_snapshot", lambda: {"device_traces": [[]]})
    _, found = failed_call(RuntimeError(CPU_213), snapshot_folder=str(tmp_path))
    assert str(tmp_path / "oom-snapshot-1.pickle") == found.snapshot
    _, found = failed_call(RuntimeError(CPU_213))
    assert "" == found.snapshot


def test_what_a_failed_call_held_is_let_go_though_the_code_keeps_the_error():
    """What is measured next has the memory, whoever remembers why this one failed."""
    kept, errors = [], []

    def call():
        try:
            fails(kept)
        except MemoryError as error:
            errors.append(error)
            raise

    failed, took = FailedCall(lines_under_test(Path(__file__).parent)), False
    try:
        enter_code_under_test(call)
    except MemoryError as error:
        took = failed.takes(error)
    assert (True, None) == (took, kept[0]())


def test_any_other_error_is_left_to_whoever_called():
    assert (False, None) == failed_call(ValueError("no"))


@contextlib.contextmanager
def around(seen, *, is_measured=True):
    seen.append(is_measured)
    yield


def test_a_warm_up_that_lacks_memory_is_no_error_and_any_other_is():
    """The inputs are built outside of what makes memory scarce."""
    seen = []

    def lacking():
        raise MemoryError

    warm_up(lambda: lacking, lambda **options: around(seen, **options))
    assert [False] == seen

    def wrong():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        warm_up(lambda: wrong, lambda **options: around(seen, **options))
    with pytest.raises(MemoryError):
        warm_up(lacking, lambda **options: around(seen, **options))
    assert [False, False] == seen
