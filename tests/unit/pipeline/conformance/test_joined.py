"""What was predicted beside what was measured, and who predictions are for."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.conformance.run import joined, target_on
from oom_suite.records import Environment
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
