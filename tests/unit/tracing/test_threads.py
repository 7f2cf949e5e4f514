"""What other threads allocate is in the trace, with their own lines, in one order."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import os
import queue
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.starting import watched
from oom_suite.tracing.threads import _State, follow, running

EARLIER = ThreadPoolExecutor(2)
EARLIER.submit(int).result()
TASKS: queue.Queue = queue.Queue()
DONE: queue.Queue = queue.Queue()


def serve():
    while True:
        task = TASKS.get()
        DONE.put(task())
        del task


@pytest.fixture(scope="module")
def server():
    """A thread that reads a queue for ever, made where lanes would see it."""
    with watched():
        threading.Thread(target=serve, daemon=True).start()


def floats(device):
    return (torch.zeros(16, device=device),)


def work(x):
    made = x + 1
    return made[:2] * 2


def joined(x):
    thread = threading.Thread(target=work, args=(x,))
    thread.start()
    thread.join()


class OfItsOwn(threading.Thread):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def run(self):
        work(self.x)


def subclass(x):
    thread = OfItsOwn(x)
    thread.start()
    thread.join()


def raw(x):
    lock = _thread.allocate_lock()
    lock.acquire()

    def body():
        work(x)
        lock.release()

    _thread.start_new_thread(body, ())
    lock.acquire()


def executor(x):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work, x).result()


def earlier(x):
    EARLIER.submit(work, x).result()


def thread_pool(x):
    with ThreadPool(1) as pool:
        pool.apply(work, (x,))


def to_thread(x):
    asyncio.run(asyncio.to_thread(work, x))


def through_a_queue(x):
    TASKS.put(lambda: work(x))
    DONE.get()


def after_the_call(x):
    def body():
        time.sleep(0.02)
        work(x)

    threading.Thread(target=body).start()


def timer(x):
    threading.Timer(0.02, work, (x,)).start()


WAYS = [
    joined,
    subclass,
    raw,
    executor,
    earlier,
    thread_pool,
    to_thread,
    through_a_queue,
    after_the_call,
    timer,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("server")
def test_a_thread_s_requests_are_recorded_with_its_own_lines(record, way):
    """As the same function's would be on the calling thread, whoever runs it and how."""
    trace = record(way, floats)
    here = record(work, floats)
    assert [each.requested_bytes for each in here.allocations] == [
        each.requested_bytes for each in trace.allocations
    ]
    assert here.peak().num_bytes == trace.peak().num_bytes
    first = inspect.getsourcelines(work)[1]
    assert [first + 1, first + 2] == [each.stack[0].line for each in trace.allocations]
    assert () == trace.unrecorded


def proved(body):
    def build(sizes, device):
        x = torch.zeros(sizes["n"], device=device)
        return lambda: body(x)

    return ProveLane(Path(__file__).parent).run(build, Hints({"n": 16}))


@pytest.mark.parametrize("way", [joined, earlier, to_thread, through_a_queue])
@pytest.mark.usefixtures("server")
def test_a_thread_s_requests_are_proved(way):
    assert ["4*n", "8"] == [str(each.requested) for each in proved(way).allocations]


def test_what_runs_no_line_of_its_own_is_blamed_on_the_line_that_gave_it(record):
    def call(x):
        EARLIER.submit(x.to, torch.float64).result()

    (made,) = record(call, floats).allocations
    assert inspect.getsourcelines(call)[1] + 1 == made.stack[0].line


def test_a_scripted_function_that_torch_forks_has_the_line_of_the_call(record):
    """torch runs it on a thread of C++, where no line of Python is."""
    forks = torch.jit.script(forked)

    def call(x):
        forks(x)

    (made,) = record(call, floats).allocations
    assert inspect.getsourcelines(call)[1] + 1 == made.stack[0].line


def doubled(x: torch.Tensor):
    return x.double()


def forked(x: torch.Tensor):
    return torch.jit.wait(torch.jit.fork(doubled, x))


def at_once(x):
    """Two threads that each hold 64 bytes for a time."""
    threads = [threading.Thread(target=lambda: x + 1) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_a_row(x):
    for _ in range(2):
        thread = threading.Thread(target=lambda: x + 1)
        thread.start()
        thread.join()


def beside(x):
    """The thread's 64 bytes may be there while these are."""
    thread = threading.Thread(target=lambda: x + 1)
    thread.start()
    y = x + 2
    thread.join()
    return y


def after_it(x):
    thread = threading.Thread(target=lambda: x + 1)
    thread.start()
    thread.join()
    return x + 2


def after_one_of_two(x):
    """The second may still hold its 64 bytes."""
    one, two = (threading.Thread(target=lambda: x + 1) for _ in range(2))
    one.start()
    two.start()
    one.join()
    y = x + 2
    two.join()
    return y


def two_tasks(x):
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(lambda: (x + 1)[:1].sum()) for _ in range(2)]:
            future.result()


def at_a_barrier(x):
    barrier = threading.Barrier(2)

    def body():
        y = x + 1
        barrier.wait()
        del y

    threads = [threading.Thread(target=body) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (at_once, 128),
        (in_a_row, 64),
        (beside, 128),
        (after_it, 64),
        (after_one_of_two, 128),
        (at_a_barrier, 128),
        (two_tasks, 136),
    ],
)
def test_what_can_be_held_at_once_counts_as_held_at_once(record, call, expected):
    """Nothing more: who has been waited for holds nothing."""
    traces = [record(call, floats) for _ in range(3)]
    assert [expected] * 3 == [trace.peak().num_bytes for trace in traces]
    assert traces[0].events == traces[1].events == traces[2].events


def test_what_others_may_hold_is_a_bound_on_their_line(shadow):
    bounds = [each for each in shadow(beside, floats).allocations if each.is_bound]
    line = inspect.getsourcelines(beside)[1] + 2
    assert [(64, line)] == [(each.requested_bytes, each.stack[0].line) for each in bounds]


def test_a_law_is_not_proved_where_the_largest_sum_is_a_question_of_sizes():
    with pytest.raises(LaneError, match="two threads allocate at once"):
        proved(beside)


def test_each_thread_has_its_own_gradient_mode(shadow):
    """A new thread starts with gradients, whatever the one that started it has."""
    seen = []

    def body(x):
        seen.append((torch.is_grad_enabled(), (x * 2).requires_grad))

    def call(x):
        x.requires_grad_()
        with torch.no_grad():
            thread = threading.Thread(target=body, args=(x,))
            thread.start()
            thread.join()

    shadow(call, floats)
    assert [(True, True)] == seen


def test_a_backward_pass_on_a_thread_is_recorded(record):
    def call(x):
        def body():
            y = (x * x).requires_grad_()
            y.sum().backward()

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()

    assert record(call, floats).peak().num_bytes >= 128


def test_what_a_thread_makes_from_nothing_is_recorded(record):
    def call(x):
        thread = threading.Thread(target=lambda: torch.empty(32, device=x.device))
        thread.start()
        thread.join()

    assert [128] == [each.requested_bytes for each in record(call, floats).allocations]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_value_that_a_thread_asks_for_is_refused_as_on_the_calling_one(shadow):
    """Though the call itself goes on, as if the thread had done its work."""

    def call(x):
        thread = threading.Thread(target=lambda: (x.sum().item(), x + 1))
        thread.start()
        thread.join()

    with pytest.raises(LaneError, match="a value that exists only on a device at test_threads"):
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
    where = f"test_threads.py:{line} ({call.__name__})"
    assert reason.startswith(f"another process is started ({what}) at ")
    assert where in reason


def test_a_process_of_a_compiler_is_none_of_the_call_s(shadow):
    """Triton and torch's own compiler start processes that run no tensor code."""
    source = "import subprocess\ndef compiled(): subprocess.run(['true'], check=True)\n"
    names = {}
    exec(compile(source, "/x/triton/runtime/build.py", "exec"), names)
    assert () == shadow(lambda _x: names["compiled"](), floats).unrecorded


def test_when_no_lane_runs_threads_are_python_s_own():
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit
    with watched():
        assert start is not threading.Thread.start
        with watched():
            pass
        assert start is not threading.Thread.start
    assert (start, submit) == (threading.Thread.start, ThreadPoolExecutor.submit)
    assert None is running()


def test_a_thread_lets_go_of_what_it_was_given(shadow, short):
    """Nothing that follows it keeps its tensors: they end where they end without."""

    def call(x):
        thread = OfItsOwn(x + 1)
        thread.start()
        thread.join()
        del thread
        return x + 2

    assert [64, 64, 8, -64, -64, -8, 64, -64] == short(shadow(call, floats))


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


def test_the_modes_are_entered_once_on_a_thread_and_left_again(shadow):
    """Whoever is inside is not led there a second time; whoever has left is, while a run is on."""
    runs, seen = [], []

    def look():
        run = running()
        seen.append(run.elsewhere() is None)
        with run.entered():
            seen.append(run.elsewhere() is None)
        seen.append(run.elsewhere() is None)

    def call(_x):
        runs.append(running())
        seen.append(runs[0].elsewhere() is None)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    shadow(call, floats)
    assert [True, False, True, False] == seen
    assert runs[0].elsewhere() is None


def test_threads_are_numbered_from_1_in_the_order_in_which_they_came(monkeypatch):
    monkeypatch.setattr("oom_suite.tracing.threads.STATE", _State())
    first, second = threading.Thread(), threading.Thread()
    assert [1, 2, 1, 2] == [follow(each) for each in (first, second, first, second)]


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
