"""What a thread or another process does unseen is named, and what a thread is refused is said."""

from __future__ import annotations

import inspect
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from threaded_calls import floats, work

from oom_suite.errors import LaneError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_value_that_a_thread_asks_for_is_refused_as_on_the_calling_one(shadow):
    """Though the call itself goes on, as if the thread had done its work."""

    def call(x):
        thread = threading.Thread(target=lambda: (x.sum().item(), x + 1))
        thread.start()
        thread.join()

    with pytest.raises(
        LaneError, match="a value that exists only on a device at test_threads_named"
    ):
        shadow(call, lambda device: (torch.empty(16, device=device),))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_with_an_error_is_named(record):
    def call(_x):
        def body():
            raise ValueError("no room")

        thread = threading.Thread(target=body, name="worker")
        thread.start()
        thread.join()

    assert ("thread 'worker' ended with ValueError: no room",) == record(call, floats).unrecorded


def test_a_thread_that_works_on_for_long_is_named(shadow, monkeypatch):
    monkeypatch.setattr("oom_suite.tracing.threads._AFTER_CALL_S", 0.05)
    done = threading.Event()

    def call(_x):
        def body():
            while not done.is_set():
                pass

        threading.Thread(target=body, name="busy").start()

    try:
        expected = "thread 'busy' is still at work when the call has returned: {}"
        assert (expected.format("what it takes is not recorded"),) == shadow(
            call, floats
        ).unrecorded
    finally:
        done.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_thread_does_between_two_runs_is_named_in_the_next(shadow):
    """Its thread waited when the call returned, and nobody could know for what."""
    go, gone = threading.Event(), threading.Event()

    def call(x):
        def body():
            go.wait()
            try:
                work(x)
            finally:
                gone.set()

        threading.Thread(target=body, name="late").start()

    assert () == shadow(call, floats).unrecorded
    go.set()
    assert gone.wait(10)
    expected = "thread 'late' went on when an earlier call had returned: {}"
    assert (expected.format("what it takes is not recorded"),) == shadow(work, floats).unrecorded
    assert () == shadow(work, floats).unrecorded


def of_a_process(x):
    subprocess.run(["true"], check=True)


def of_a_fork(x):
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.parametrize(("call", "what"), [(of_a_process, "subprocess"), (of_a_fork, "os.fork")])
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_process_that_the_call_starts_is_named_with_its_line(record, call, what):
    (reason,) = record(call, floats).unrecorded
    line = inspect.getsourcelines(call)[1] + 1
    where = f"test_threads_named.py:{line} ({call.__name__})"
    assert reason.startswith(f"another process is started ({what}) at ")
    assert where in reason


def test_a_process_of_a_compiler_is_none_of_the_call_s(shadow):
    """Triton and torch's own compiler start processes that run no tensor code."""
    source = "import subprocess\ndef compiled(): subprocess.run(['true'], check=True)\n"
    names = {}
    exec(compile(source, "/x/triton/runtime/build.py", "exec"), names)
    assert () == shadow(lambda _x: names["compiled"](), floats).unrecorded


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("way", ["a pool", "leaves"])
def test_an_error_that_others_are_told_of_is_not_named(record, way):
    """A pool hands it to whoever asks for the result, and `SystemExit` is how a thread leaves."""

    def fail():
        raise ValueError("no room") if way == "a pool" else SystemExit(3)

    def call(_x):
        if way == "a pool":
            with ThreadPoolExecutor(1) as pool:
                assert isinstance(pool.submit(fail).exception(), ValueError)
        else:
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()

    assert () == record(call, floats).unrecorded


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_thread_was_refused_is_said_wherever_the_call_then_failed(shadow):
    """The call's own error, which may be for want of the thread's work, is the cause beside it."""

    def call(x):
        thread = threading.Thread(target=lambda: x.sum().item())
        thread.start()
        thread.join()
        raise ValueError("no result")

    with pytest.raises(LaneError, match="a value that exists only on a device") as found:
        shadow(call, lambda device: (torch.empty(16, device=device),))
    assert isinstance(found.value.__cause__, ValueError)


def test_what_a_pool_was_refused_is_the_error_of_who_asks_for_its_result(shadow):
    """It is the same error, and not the cause of itself."""

    def call(x):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: x.sum().item()).result()

    with pytest.raises(LaneError, match="a value that exists only on a device") as found:
        shadow(call, lambda device: (torch.empty(16, device=device),))
    assert found.value.__cause__ is not found.value
