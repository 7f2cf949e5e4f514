"""What several threads can hold at once counts as held at once, and nothing more does."""

from __future__ import annotations

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from threaded_calls import floats, proved

from oom_suite.errors import LaneError


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
