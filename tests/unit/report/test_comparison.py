"""Two result files against each other."""

from __future__ import annotations

import copy
import json

import pytest

from oom_suite.errors import UsageError
from oom_suite.report.comparison import compare_files

PLACE = {
    "device_type": "cuda",
    "device": "NVIDIA H200",
    "arch": "sm_90",
    "driver": "580.1",
    "runtime": "CUDA 13.0",
    "torch": "2.11.0",
    "allocator": "",
}


def row(subject="full_dequant", requested=1000, allocated=1024, reserved=2048, **more):
    return {
        "subject": subject,
        "workload": "decode",
        "scenario": "small",
        "sizes": {"num_blocks": 64},
        "measured": {
            "requested_bytes": requested,
            "allocated_bytes": allocated,
            "reserved_bytes": reserved,
        },
        **more,
    }


def checked(place=PLACE, requested=1000):
    return {
        "results": [
            {
                "subject": "full_dequant",
                "workload": "decode",
                "lane": "measure",
                "scenario": "small",
                "sizes": {"num_blocks": 64},
                "peak_requested_bytes": requested,
                "peak_allocated_bytes": 1024,
                "peak_reserved_bytes": 2048,
                "measurement": None if place is None else {"environment": place},
            }
        ]
    }


def measured(*rows, place=PLACE):
    return {"measured_on": [place], "rows": list(rows)}


@pytest.fixture
def compare(tmp_path):
    """`compare(old, new)` of two bodies."""

    def files(old, new, **options):
        paths = []
        for name, body in (("old.json", old), ("new.json", new)):
            path = tmp_path / name
            path.write_text(body if isinstance(body, str) else json.dumps(body), encoding="utf-8")
            paths.append(path)
        return compare_files(*paths, **options)

    return files


def test_equal_files_have_not_grown(compare):
    found = compare(measured(row()), measured(row()))
    assert (("1 of 1 calls equal",), False) == (found.lines, found.has_grown)


def test_one_byte_more_is_growth_and_one_less_is_not(compare):
    found = compare(measured(row()), measured(row(requested=1001)))
    assert found.has_grown
    assert "requested +1 bytes (1,000 to 1,001)" in found.lines[0]
    found = compare(measured(row()), measured(row(requested=999)))
    assert not found.has_grown
    assert "requested -1 bytes" in found.lines[0]


def test_reserved_bytes_are_shown_and_not_judged(compare):
    found = compare(measured(row()), measured(row(reserved=4096)))
    assert not found.has_grown
    assert "reserved +2,048 bytes" in found.lines[0]


def test_a_call_that_is_there_no_more_counts_as_growth(compare):
    found = compare(measured(row(), row("streaming")), measured(row()))
    assert found.has_grown
    assert "missing: streaming decode" in found.lines[0]


def test_a_new_call_is_counted_and_no_growth(compare):
    found = compare(measured(row()), measured(row(), row("streaming")))
    assert (("1 of 1 calls equal, 1 new",), False) == (found.lines, found.has_grown)


def test_a_figure_that_is_lost_is_growth(compare):
    lost = row(outcome="out of memory")
    del lost["measured"]
    found = compare(measured(row()), measured(lost))
    assert found.has_grown
    assert "requested 1,000 bytes to unknown" in found.lines[0]


def test_the_same_name_at_other_sizes_is_another_call(compare):
    with pytest.raises(UsageError, match="no call in common"):
        compare(measured(row()), measured(row(sizes={"num_blocks": 65})))


OTHER = {**PLACE, "driver": "575.2", "torch": "2.13.0"}


@pytest.mark.parametrize(
    ("old", "new"),
    [(measured(row()), measured(row(), place=OTHER)), (checked(), checked(OTHER))],
    ids=["measure", "check"],
)
def test_other_environments_are_refused_naming_what_differs(compare, old, new):
    with pytest.raises(UsageError, match=r"driver 580.1 and 575.2, torch 2.11.0 and 2.13.0") as no:
        compare(old, new)
    assert "\n" not in str(no.value)
    assert not compare(old, new, across_environments=True).has_grown


def test_a_measurement_is_not_compared_with_a_prediction(compare):
    with pytest.raises(UsageError, match="one was measured and the other was not"):
        compare(checked(), checked(None))


def test_check_and_measure_files_speak_of_the_same_calls(compare):
    assert not compare(checked(), measured(row())).has_grown
    assert compare(checked(requested=999), measured(row())).has_grown


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "cannot read results"),
        ("[]", "holds no results"),
        ({"results": [{}]}, "holds no results"),
        ({"rows": [{}], "measured_on": []}, "holds no results"),
    ],
    ids=["no JSON", "a list", "no result", "no row"],
)
def test_what_is_no_result_file_is_refused_in_one_line(compare, body, said):
    with pytest.raises(UsageError, match=said) as no:
        compare(copy.deepcopy(body), measured(row()))
    assert "\n" not in str(no.value)
