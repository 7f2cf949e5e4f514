"""What other threads allocate is in the trace, with their own lines, in one order."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import pytest
import torch
from threaded_calls import floats, proved, work

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


def started(body):
    threading.Thread(target=body).start()


@pytest.mark.parametrize(
    "give",
    [started, lambda body: EARLIER.submit(body), lambda body: _thread.start_new_thread(body, ())],
    ids=["thread", "pool", "raw"],
)
def test_a_thread_that_is_given_work_comes_as_far_as_it_can_at_once(shadow, give):
    """Up to its first operator: whatever it does before, its giver finds done."""
    found = []

    def call(x):
        done = []

        def body():
            sum(range(1_000_000))
            done.append("before")
            _ = x + 1

        give(body)
        found.append(list(done))

    shadow(call, floats)
    assert [["before"]] == found


def test_threads_are_numbered_from_1_in_the_order_in_which_they_came(monkeypatch):
    monkeypatch.setattr("oom_suite.tracing.threads.STATE", _State())
    first, second = threading.Thread(), threading.Thread()
    assert [1, 2, 1, 2] == [follow(each) for each in (first, second, first, second)]
