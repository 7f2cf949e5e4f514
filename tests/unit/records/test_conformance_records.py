"""What a conformance run says of a call: exact, bounded, named, wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from oom_suite.records import Verdict
from oom_suite.records.conformance import Conformance, ConformanceRow, Status, compared


@pytest.mark.parametrize(
    ("least", "most", "measured", "is_named", "expected"),
    [
        (512, 512, 512, False, Status.EXACT),
        (512, 512, 512, True, Status.EXACT),
        (0, 0, 0, False, Status.EXACT),
        (512, 512, 513, False, Status.WRONG),
        (512, 512, 511, False, Status.WRONG),
        (512, 512, 513, True, Status.NAMED),
        (512, 700, 512, False, Status.BOUNDED),
        (512, 700, 700, False, Status.BOUNDED),
        (512, 700, 701, False, Status.WRONG),
        (512, 700, 511, False, Status.WRONG),
        (512, 700, 701, True, Status.NAMED),
    ],
)
def test_a_byte_decides(least, most, measured, is_named, expected):
    """A prediction that is off by one byte is wrong unless it named who may take more."""
    assert expected is compared(least, most, measured, is_named=is_named)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (511, Status.WRONG),
        (512, Status.EXACT),
        (513, Status.BOUNDED),
        (700, Status.BOUNDED),
        (701, Status.WRONG),
    ],
)
def test_a_library_that_took_no_workspace_is_exact_and_one_byte_above_its_bound_wrong(
    measured, expected
):
    assert expected is compared(512, 700, measured, is_named=False, is_library=True)
    assert (Status.BOUNDED if measured == 512 else expected) is compared(
        512, 700, measured, is_named=False
    )


def test_bounds_that_data_decides_stand_apart():
    """The widest bound is that of a library or a kernel; what was spared is counted."""
    data = ConformanceRow("s", "prod", "c", Status.BOUNDED, 0, 90, 10, by_data=("aten::prod",))
    spared = ConformanceRow("s", "conv", "c", Status.EXACT, 5, 50, 5, libraries=("cuDNN",))
    run = Conformance("H200", "cuda:sm_90", (ROW, data, spared))
    assert ([data], [ROW], ROW, [spared]) == (
        run.bounded(by_data=True),
        run.bounded(by_data=False),
        run.widest,
        run.spared,
    )
    assert [data, spared] == [ConformanceRow.from_json(row.to_json()) for row in (data, spared)]


ROW = ConformanceRow("models", "Llama", "float32 sdpa", Status.BOUNDED, 512, 768, 640, ("aten::x",))


def test_a_row_is_read_as_it_was_written():
    assert ROW == ConformanceRow.from_json(json.loads(json.dumps(ROW.to_json())))


@pytest.mark.parametrize(
    ("most", "measured", "expected"),
    [(768, 640, 0.2), (640, 640, 0.0), (0, 0, 0.0), (1, 0, float("inf")), (None, 640, None)],
)
def test_an_error_is_a_share_of_what_was_measured(most, measured, expected):
    row = ConformanceRow("s", "n", "c", Status.NAMED, most, most, measured)
    assert expected == pytest.approx(row.error)


def test_what_is_exact_has_no_error_whatever_a_library_might_have_taken():
    row = ConformanceRow("s", "n", "c", Status.EXACT, 5, 50, 5, libraries=("cuDNN's workspace",))
    assert row.error == 0.0
    assert replace(row, status=Status.BOUNDED).error == 9.0


def test_a_run_counts_by_suite_and_names_what_is_wrong():
    wrong = ConformanceRow("scaled", "sort", "x", Status.WRONG, 1, 1, 2)
    run = Conformance("H200", "cuda:sm_90", (ROW, wrong), elapsed_s=1.25, torch="2.13.0")
    assert ((wrong,), ROW, ("models", "scaled")) == (run.wrong, run.widest, run.suites)
    body = run.to_json()
    assert {"bounded": 1, "wrong": 1} == body["calls"]
    assert {"models": {"bounded": 1}, "scaled": {"wrong": 1}} == body["suites"]


@pytest.mark.parametrize(
    ("statuses", "left_out", "expected"),
    [
        ([Status.EXACT, Status.NAMED, Status.REFUSED], (), Verdict.PASS),
        ([Status.EXACT, Status.WRONG], (), Verdict.FAIL),
        ([Status.WRONG], ("sort",), Verdict.FAIL),
        ([Status.EXACT], ("sort",), Verdict.INCONCLUSIVE),
        ([Status.NOT_RUN], (), Verdict.INCONCLUSIVE),
        ([Status.NOT_RUN, Status.EXACT], (), Verdict.PASS),
        ([], (), Verdict.INCONCLUSIVE),
    ],
)
def test_a_run_that_compared_too_little_does_not_pass(statuses, left_out, expected):
    rows = tuple(ConformanceRow("s", "n", "c", status) for status in statuses)
    assert expected is Conformance("H200", "cuda:sm_90", rows, left_out).verdict
