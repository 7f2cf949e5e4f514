"""A call that is measured again must take the same bytes, request by request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oom_suite.pipeline.measuring import others
from oom_suite.records import Allocation, Event, Frame, Trace

STACK = (Frame("kernel.py", 7, "decode"),)
RUN = Trace(
    lane="measure",
    sizes={"num_blocks": 64},
    allocations=(Allocation(512, "allocator", STACK), Allocation(1024, "allocator", STACK)),
    events=(Event("alloc", 0), Event("alloc", 1), Event("free", 0)),
)


def test_runs_that_are_alike_differ_nowhere():
    """Fifty equal runs."""
    assert "" == others([RUN] * 50)


@pytest.mark.parametrize(
    "odd",
    [
        replace(
            RUN, allocations=(RUN.allocations[0], replace(RUN.allocations[1], requested_bytes=1025))
        ),
        replace(RUN, events=(*RUN.events, Event("free", 1))),
        replace(
            RUN,
            allocations=(RUN.allocations[0], replace(RUN.allocations[1], stack=())),
        ),
    ],
    ids=["one-byte", "one-free", "another-line"],
)
def test_the_run_that_differs_is_named(odd):
    """One byte, one free or one line is enough."""
    said = "measured 3 times, and run 2 took other bytes than the first"
    assert said == others([RUN, odd, RUN])
