"""What was predicted beside what was measured, and who predictions are for."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.conformance.bench import _predicted
from oom_suite.pipeline.conformance.run import joined, target_on
from oom_suite.records import Allocation, Environment, Event, Trace, Unseen
from oom_suite.records.conformance import Status

WHERE = {"suite": "operators", "name": "sort", "case": "float32"}
KEY = "operators: sort: float32"
MEASURED = {KEY: {**WHERE, "measured_bytes": 512, "allocated_bytes": 512}}


def said(least=512, most=512, named=()):
    return {KEY: {**WHERE, "least_bytes": least, "most_bytes": most, "named": list(named)}}


@pytest.mark.parametrize(
    ("predicted", "measured", "expected", "reason"),
    [
        (said(), MEASURED, Status.EXACT, ""),
        (said(511, 511), MEASURED, Status.WRONG, ""),
        (said(511, 511, ["aten::sort"]), MEASURED, Status.NAMED, ""),
        (said(0, 512), MEASURED, Status.BOUNDED, ""),
        (said(512, 900), MEASURED, Status.BOUNDED, ""),
        (said(513, 900), MEASURED, Status.WRONG, ""),
        (said(0, 511), MEASURED, Status.WRONG, ""),
        (said(0, 511, ["aten::topk"]), MEASURED, Status.NAMED, ""),
        ({KEY: {**WHERE, "error": "it reads"}}, MEASURED, Status.REFUSED, "it reads"),
        ({}, MEASURED, Status.REFUSED, "it was not predicted"),
        (said(), {KEY: {**WHERE, "error": "no kernel"}}, Status.NOT_RUN, "no kernel"),
        (said(), {}, Status.NOT_RUN, "the device did not come to it"),
    ],
)
def test_each_case_has_a_row(predicted, measured, expected, reason):
    (row,) = joined(predicted, measured)
    assert (expected, reason, KEY) == (row.status, row.reason, row.key)


def test_units_that_one_side_did_not_come_to_have_no_rows():
    assert () == joined(said(), {}, left_out=frozenset({"sort"}))


def environment(device_type, arch):
    return Environment(device_type, "a device", arch, "", "", "2.13.0", "")


@pytest.mark.parametrize(
    ("device_type", "arch", "expected"),
    [
        ("cpu", "x86_64", "cpu"),
        ("cuda", "sm_90", "cuda:sm_90"),
        ("cuda", "sm_100", "cuda:sm_100"),
        ("hip", "gfx942:sramecc+:xnack-", "rocm:gfx942"),
    ],
)
def test_predictions_are_for_the_device_that_is_there(device_type, arch, expected):
    assert expected == target_on(environment(device_type, arch)).name


def test_a_device_of_no_target_is_refused():
    with pytest.raises(UsageError, match=r"^unknown target 'cuda:sm_35': choose from "):
        target_on(environment("cuda", "sm_35"))


def traced(*unseen, bound_bytes=0):
    """A call that asks for 100 bytes, and for at most so many more inside."""
    requests = [(100, False)] + [(bound_bytes, True)] * bool(bound_bytes)
    allocations = tuple(Allocation(size, "aten::sort", (), bound) for size, bound in requests)
    events = tuple(Event("alloc", n) for n in range(len(requests)))
    return Trace("shadow", {}, allocations, events, unseen=unseen)


def unseen(*, is_bounded):
    return Unseen("aten::sort", (), 0, "sorts", is_bounded)


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        (traced(), (100, 100, [])),
        (traced(bound_bytes=28), (100, 128, [])),
        (traced(unseen(is_bounded=False)), (100, 100, ["aten::sort"])),
        (traced(unseen(is_bounded=True)), (0, 100, [])),
        (traced(unseen(is_bounded=True), bound_bytes=28), (0, 128, [])),
    ],
    ids=["exact", "at-most", "a-name", "seen-as-more", "both"],
)
def test_a_prediction_names_what_nothing_bounds(trace, expected):
    """What has a bound is held to it: above it, a measurement is wrong."""
    found = _predicted(trace)
    assert expected == (found["least_bytes"], found["most_bytes"], found["named"])
