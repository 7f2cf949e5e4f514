"""What a device measured is predicted again: a byte that is off has its line anywhere."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.conformance.again import conformance_again, kept_run
from oom_suite.pipeline.conformance.run import Options
from oom_suite.records import Verdict
from oom_suite.records.conformance import Conformance, ConformanceRow, Status

pytestmark = pytest.mark.xdist_group("conformance")

# As an H200 had it: the result alone.
CASE = "float32 10,000 in long rows forward"
EXACT_BYTES = 40000


def measured(*rows):
    """A file's run on a GPU that is not here."""
    return Conformance("a GPU", "cuda:sm_90", rows, torch="2.11.0")


def row(num_bytes, *, case=CASE, status=Status.EXACT):
    figures = {"measured_bytes": num_bytes} if num_bytes is not None else {}
    return ConformanceRow("scaled", "softmax", case, status, **figures)


@pytest.fixture(scope="module")
def again():
    """`again(*rows)`: the run of today, each asked for once."""
    return lambda *rows: conformance_again(measured(*rows), Options(suites=("scaled",)))


def test_a_byte_that_is_off_is_wrong_and_its_twin_is_exact(again):
    """Both figures are in the row; a call that this torch does not have is left out by name."""
    found = again(
        row(EXACT_BYTES),
        row(EXACT_BYTES // 2 + 1, case=CASE.replace("float32", "bfloat16")),
        row(512, case="float8 forward"),
        row(None, case="float32 10,000 in many rows forward", status=Status.NOT_RUN),
    )
    statuses = {one.case: one.status for one in found.rows}
    assert {
        CASE: Status.EXACT,
        CASE.replace("float32", "bfloat16"): Status.WRONG,
        "float8 forward": Status.NOT_RUN,
    } == statuses
    (missing,) = [one for one in found.rows if one.status is Status.NOT_RUN]
    assert missing.reason.endswith(" has no such call")
    assert (Verdict.FAIL, "a GPU", "2.11.0") == (found.verdict, found.device, found.torch)
    assert found.predicted_by.startswith("2.")


def test_what_was_not_measured_is_not_compared():
    unmeasured = measured(row(None, status=Status.NOT_RUN))
    with pytest.raises(UsageError, match="--against: it measured nothing of scaled"):
        conformance_again(unmeasured, Options(suites=("scaled",)))


def test_a_unit_that_it_lacks_is_refused():
    options = Options(suites=("scaled",), only=("sort",))
    with pytest.raises(UsageError, match="--only sort: no such unit in scaled"):
        conformance_again(measured(row(512)), options)


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["as it is", "gzip"])
def test_a_run_comes_back_from_its_file(tmp_path, packed):
    run = replace(measured(row(512)), left_out=("sort",), elapsed_s=1.5)
    file = tmp_path / "run.json"
    file.write_bytes(packed(json.dumps(run.to_json()).encode()))
    assert run == kept_run(file)


def test_half_of_a_packed_file_is_one_line(tmp_path):
    file = tmp_path / "run.json.gz"
    file.write_bytes(gzip.compress(b"{}" * 99)[:-12])
    with pytest.raises(UsageError, match=r"run\.json\.gz: Compressed file ended before"):
        kept_run(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "No such file or directory", id="missing"),
        pytest.param("{", "no run of oom-suite conformance (JSONDecodeError", id="no JSON"),
        pytest.param("[]", "no run of oom-suite conformance (TypeError", id="a list"),
        pytest.param("{}", "no run of oom-suite conformance (KeyError: 'device')", id="another"),
    ],
)
def test_any_other_file_is_one_line(tmp_path, text, words):
    file = tmp_path / "run.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        kept_run(file)
    assert str(caught.value).startswith(f"--against {file}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
