"""Traces: the peak with frees, and the round trip through JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from oom_suite.records import (
    Allocation,
    AllocatorPeaks,
    Environment,
    Event,
    Frame,
    Launch,
    Measurement,
    OutOfMemory,
    Reading,
    Tenant,
    Trace,
    Unseen,
    Workspace,
)

HERE = (Frame("pkg/decode.py", 12, "decode"), Frame("pkg/model.py", 3, "step"))
ELSEWHERE = (Frame("pkg/decode.py", 20, "gather"),)


def trace(sizes, steps):
    """A trace of allocations of these sizes; a step is an index, ``~index`` frees it."""
    return Trace(
        lane="shadow",
        sizes={"num_tokens": 4},
        allocations=tuple(Allocation(size, "aten.empty", HERE) for size in sizes),
        events=tuple(Event("alloc", s) if s >= 0 else Event("free", ~s) for s in steps),
    )


def test_a_call_that_asks_for_nothing_has_no_peak():
    peak = trace([], []).peak()
    assert (peak.num_bytes, peak.event, peak.live) == (0, -1, ())
    assert trace([], []).largest_request_bytes == 0


def test_a_call_that_asks_for_zero_bytes_has_no_peak():
    assert trace([0], [0]).peak().num_bytes == 0


def test_the_peak_is_the_largest_live_sum_and_names_what_was_live():
    peak = trace([10, 100, 50, 60], [0, 1, ~1, 2, 3]).peak()
    assert (peak.num_bytes, peak.event, peak.live) == (120, 4, (0, 2, 3))


def test_the_first_of_two_equal_peaks_is_the_peak():
    peak = trace([10, 10], [0, ~0, 1]).peak()
    assert (peak.num_bytes, peak.event, peak.live) == (10, 0, (0,))


def test_rounding_each_request_can_move_the_peak():
    call = trace([1000, 1, 1, 1], [0, ~0, 1, 2, 3])
    assert call.peak().event == 0
    rounded = call.peak(lambda size: -(-size // 512) * 512)
    assert (rounded.num_bytes, rounded.event) == (1536, 4)


def test_what_is_live_is_listed_in_order_of_allocation():
    call = trace([1, 2, 3], [2, 0, ~2, 1])
    assert call.live_after(-1) == ()
    assert call.live_after(1) == (2, 0)
    assert call.live_after(3) == (0, 1)


def test_the_largest_request_need_not_be_live_at_the_peak():
    assert trace([70, 50, 50], [0, ~0, 1, 2]).largest_request_bytes == 70


@given(st.lists(st.integers(0, 1 << 40), max_size=8))
def test_without_frees_the_peak_is_the_sum(sizes):
    assert trace(sizes, range(len(sizes))).peak().num_bytes == sum(sizes)


def test_a_trace_survives_json_whole():
    full = Trace(
        lane="measure",
        sizes={"num_tokens": 4, "swa_num_blocks": 221_839},
        allocations=(
            Allocation(14_538_440_704, "aten.empty", HERE),
            Allocation(8, "aten.add", ()),
            Allocation(9, "aten.add", HERE),
        ),
        events=(Event("alloc", 0), Event("alloc", 1), Event("free", 0), Event("alloc", 2)),
        input_bytes=77,
        unseen=(Unseen("aten.sort", ELSEWHERE, 64, "a temporary"),),
        launches=(Launch("_decode_kernel", HERE),),
        host_reads=(Frame("pkg/decode.py", 5, "decode"),),
        measurement=Measurement(
            Environment("cuda", "a GPU", "sm_90", "580.1", "CUDA 13.0", "2.11.0", ""),
            AllocatorPeaks(1, 512, 512, 1 << 21),
            (Workspace("cuBLAS", 1 << 25, in_call=True),),
            (Reading("nvml", "device used", None, "no driver"),),
            (Tenant(7, 1 << 20, "python"),),
            OutOfMemory("out of memory", 5, 4, HERE, "snapshot.pickle"),
        ),
        num_operators=12,
    )
    body = json.loads(json.dumps(full.to_json()))
    assert Trace.from_json(body) == full
    assert len(body["stacks"]) == 3
    assert Trace.from_json(body).num_operators == 12


def test_a_frame_reads_as_terminals_make_it_clickable():
    assert str(HERE[0]) == "pkg/decode.py:12 (decode)"


def test_a_site_is_the_same_whatever_the_size():
    assert Allocation(1, "aten.empty", HERE).site == Allocation(2, "aten.empty", HERE).site


def test_without_leaves_out_requests_and_their_frees():
    whole = trace([70, 50, 8], [0, 1, ~1, 2, ~0])
    rest = whole.without(lambda each: each.requested_bytes == 50)
    assert [70, 8] == [each.requested_bytes for each in rest.allocations]
    assert [("alloc", 0), ("alloc", 1), ("free", 0)] == [
        (e.kind, e.allocation) for e in rest.events
    ]


def test_a_trace_with_bounds_and_a_host_survives_json():
    """What a bound stands for, host memory and what was not recorded are written and read back."""
    host = Trace("shadow", {}, (Allocation(8, "aten::empty", ()),), (Event("alloc", 0),))
    bound = Allocation(64, "aten::sort", (), is_bound=True)
    trace = Trace(
        "shadow", {"n": 1}, (bound,), (Event("alloc", 0),), host=host, unrecorded=("a process",)
    )
    assert trace == Trace.from_json(trace.to_json())


def test_what_a_call_leaves_behind_is_what_no_event_frees():
    requests = (Allocation(8, "aten::empty", ()), Allocation(16, "aten::empty", ()))
    events = (Event("alloc", 0), Event("alloc", 1), Event("free", 0))
    assert (1,) == Trace("shadow", {}, requests, events).kept
