"""What is kept of the files that --json writes."""

from __future__ import annotations

import io
import json
import sys

import pytest

from fixtures.results import MADE, checked, write_results
from oom_suite.errors import UsageError
from oom_suite.history.reading import read_files

MEASURED_ON = {
    "device_type": "cuda",
    "device": "NVIDIA H200",
    "arch": "sm_90",
    "driver": "580.159.04",
    "runtime": "CUDA 13.0",
    "torch": "2.11.0+cu130",
    "allocator": "",
}
ROW = {
    "subject": "vllm==0.21.0",
    "workload": "decode",
    "scenario": "small",
    "sizes": {"num_blocks": 64},
    "outcome": "explained",
    "measured": {"requested_bytes": 4096, "allocated_bytes": 4608},
}
LAW = {
    "subject": "decode.py:decode",
    "workload": "decode",
    "scenario": "small",
    "sizes": {"num_blocks": 100},
    "target": "rocm:gfx942",
    "law": {"text": "max(8*a, 4*b)", "regimes": ["8*a", "4*b"], "held": {}, "notes": []},
    "inside": [{"op": "aten::sort", "at_most": "16*a", "where": "d.py:1 (f)"}],
    "scenarios": {"small": {"law_bytes": 800, "run_bytes": 801}},
}


def read(path, body=None, commit=None):
    if body is not None:
        path.write_text(json.dumps(body), encoding="utf-8")
    return read_files([str(path)], commit)[0]


def test_check_gives_what_it_judged_with_the_law_and_the_peak(tmp_path):
    (one,) = read(write_results(tmp_path / "r.json", [checked("8*a + 4")])).results
    assert ("check", "decode.py:decode", "decode", "shadow", "generic", "small", "PASS", 800) == (
        *(one.kind, one.subject, one.workload, one.lane, one.target, one.scenario),
        *(one.verdict, one.num_bytes),
    )
    assert {"formulas": ["8*a + 4"], "inside": []} == json.loads(one.law)
    assert ("3.11.7", "2.13.0+cpu", "3.7.1", "0.1.0") == (
        *(one.python, one.torch, one.triton, one.oom_suite),
    )
    assert "2026-11-28T01:00:00.000+00:00" == one.made_at
    assert checked("8*a + 4") == json.loads(one.body)
    assert MADE == json.loads(one.environment)


def test_law_gives_all_its_formulas_and_what_an_exact_run_took(tmp_path):
    """What kernels take inside is one of its terms."""
    (one,) = read(tmp_path / "l.json", {"law": LAW, "environment": MADE}).results
    assert ("law", "shadow", "rocm:gfx942", 801) == (one.kind, one.lane, one.target, one.num_bytes)
    inside = ["at most 16*a inside aten::sort"]
    assert {"formulas": ["8*a", "4*b"], "inside": inside} == json.loads(one.law)


def test_measure_gives_what_the_device_counted_and_which_device(tmp_path):
    body = {"date": "2026-11-22", "measured_on": [MEASURED_ON], "rows": [ROW, {**ROW, "sizes": {}}]}
    one, _ = read(tmp_path / "m.json", body).results
    assert ("measure", "measure", "explained", 4096, "") == (
        *(one.kind, one.lane, one.verdict, one.num_bytes, one.law),
    )
    assert ("cuda:sm_90", "NVIDIA H200", "580.159.04", "2.11.0+cu130") == (
        *(one.target, one.device, one.driver, one.torch),
    )
    assert "2026-11-22T00:00:00.000+00:00" == one.made_at


def test_a_measured_check_names_its_device(tmp_path):
    measured = checked(lane="measure", measurement={"environment": MEASURED_ON})
    (one,) = read(write_results(tmp_path / "r.json", [measured])).results
    assert ("measure", "580.159.04", "2.11.0+cu130") == (one.lane, one.driver, one.torch)


def test_scan_gives_its_rows_with_their_laws(tmp_path):
    """A release without such code is a result too, with nothing to compare."""
    row = {"subject": "vllm==0.33.0", "workload": "decode", "scenario": "production"}
    row |= {"target": "rocm:gfx942", "found": "FAIL", "regimes": ["8*a", "4*b"], "law": "8*a"}
    row |= {"peak_bytes": 800, "where": "d.py:1 (f)"}
    absent = {**row, "workload": "gather", "found": "ABSENT", "regimes": [], "peak_bytes": None}
    scan = {"subjects": ["vllm==0.33.0"], "num_units": 2, "rows": [row, absent]}
    one, other = read(tmp_path / "s.json", {"scan": scan, "environment": MADE}).results
    assert ("scan", "FAIL", 800, "rocm:gfx942", "0.33.0") == (
        *(one.kind, one.verdict, one.num_bytes, one.target, one.release),
    )
    assert {"formulas": ["8*a", "4*b"], "inside": []} == json.loads(one.law)
    assert ("ABSENT", "", None) == (other.verdict, other.law, other.num_bytes)


def test_bench_gives_each_time_with_its_shape_and_device(tmp_path):
    shape = {"part": "decode", "table": "heads", "sizes": {"tokens": 64}, "layer": "c4a"}
    timing = {"subject": "fused", "how": "graph", "elapsed_us": 30.5, "scratch_bytes": 4096}
    body = {
        "device": {"name": "NVIDIA H200", "torch": "2.11.0+cu130", "copy_gb_per_s": 3844.0},
        "absent": {},
        "rows": [{"shape": shape, "timings": [timing, {**timing, "subject": "vllm==0.33.0"}]}],
        "environment": MADE,
    }
    one, other = read(tmp_path / "b.json", body).results
    assert ("bench", "fused", "decode", "heads c4a", "graph") == (
        *(one.kind, one.subject, one.workload, one.scenario, one.verdict),
    )
    assert (30.5, 4096, "NVIDIA H200", "2.11.0+cu130", '{"tokens":64}') == (
        *(one.elapsed_us, one.num_bytes, one.device, one.torch, one.sizes),
    )
    assert ("vllm", "0.33.0") == (other.line, other.release)


@pytest.mark.parametrize("name", ["speeds", "fleets"])
def test_a_list_of_results_by_another_name_is_of_that_kind(tmp_path, name):
    """Whatever has a subject and a workload, such as what a package's own command writes."""
    result = {"subject": "vllm==0.33.0", "workload": "decode", "elapsed_us": 12.5}
    (one,) = read(tmp_path / "b.json", {name: [result], "environment": MADE}).results
    assert (name, "vllm", "0.33.0", None) == (one.kind, one.line, one.release, one.num_bytes)
    assert result == json.loads(one.body)


def code_of(path, subject, commit=None, **made):
    (one,) = read(write_results(path, [checked(subject=subject)], **made), commit=commit).results
    return one.code_commit[:1], one.is_dirty, one.committed_at


def test_the_commit_is_that_of_the_code_under_test(tmp_path):
    """The user's repository for a file, the suite's own for a built-in, none for a release.

    What lies elsewhere is of a repository that the file does not know.
    """
    path = tmp_path / "r.json"
    assert ("a", False, "2026-11-27T21:00:00.000+00:00") == code_of(path, "decode.py:decode")
    assert ("5", True, "") == code_of(path, "token_gather", dirty=True)
    assert ("", False, "") == code_of(path, "vllm==0.21.0", dirty=True)
    assert "a" == code_of(path, "vllm@.")[0]
    assert ("", "", "") == tuple(
        code_of(path, each)[0] for each in ("/x/decode.py:decode", "vllm@/x", "vllm@../x")
    )
    assert ("9", False, "") == code_of(path, "decode.py:decode", commit="9" * 40)


def test_a_subject_of_a_package_that_is_not_here_has_a_life_of_its_own(tmp_path):
    (one,) = read(write_results(tmp_path / "r.json", [checked(subject="my-server==1.2")])).results
    assert ("my-server==1.2", "") == (one.line, one.release)


def test_an_interrupted_command_s_file_gives_what_it_has(tmp_path):
    body = {"results": [checked()], "is_complete": False, "environment": MADE}
    found = read(tmp_path / "r.json", body)
    assert (1, False) == (len(found.results), found.is_complete)
    found = read(tmp_path / "r.json", body | {"results": []})
    assert (0, False) == (len(found.results), found.is_complete)


def test_a_result_is_the_same_in_the_file_of_half_and_of_all(tmp_path):
    """A command writes its file again and again: what was recorded early is not doubled."""
    half = read(tmp_path / "r.json", {"results": [checked()], "is_complete": False})
    whole = read(tmp_path / "r.json", {"results": [checked(), checked("8")], "is_complete": True})
    assert half.results[0] == whole.results[0]


def test_patterns_are_filled_in_and_each_file_is_read_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.json", "a.json"):
        write_results(tmp_path / name, [checked()])
    found = read_files(["a.json", "*.json"])
    assert ["a.json", "b.json"] == [each.path for each in found]


def test_standard_input_is_a_file_too(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"results": [checked()]})))
    (found,) = read_files(["-"])
    assert 1 == len(found.results)


def test_a_figure_beyond_a_column_s_is_kept_in_the_result_s_own_json(tmp_path):
    """A law's bound can be larger than any memory."""
    paths = [
        write_results(tmp_path / f"{power}.json", [checked(num_bytes=(1 << power) - 1)])
        for power in (63, 64)
    ]
    last, beyond = (each.results[0] for each in read_files(list(map(str, paths))))
    assert ((1 << 63) - 1, None) == (last.num_bytes, beyond.num_bytes)
    assert (1 << 64) - 1 == json.loads(beyond.body)["peak_requested_bytes"]


def test_names_from_strangers_are_one_printable_line(tmp_path):
    (one,) = read(write_results(tmp_path / "r.json", [checked(subject="a\nb\0c\ud800")])).results
    assert "a b c " == one.subject


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot read results from '{}': Expecting property name"),
        ("\ud800", "cannot read results from '{}': "),
        ("[]", "'{}' holds no results that can be kept (AttributeError: "),
        ("{}", "'{}' holds no results that can be kept: give a file that check, law, measure, "),
        ('{"results": []}', "'{}' holds no results that can be kept: give a file"),
        ('{"results": [{"subject": "a"}]}', "'{}' holds no results that can be kept (KeyError: "),
        ('{"results": [3]}', "'{}' holds no results that can be kept (AttributeError: "),
        ('{"law": null}', "'{}' holds no results that can be kept: give a file"),
        ('{"measured_on": [], "rows": 3}', "'{}' holds no results that can be kept (TypeError: "),
        (
            json.dumps({"results": [checked()], "environment": {"made_at": "soon"}}),
            "'{}' holds no results that can be kept (ValueError: Invalid isoformat string: 'soon')",
        ),
    ],
    ids=range(10),
)
def test_what_holds_no_results_is_one_line(tmp_path, text, expected):
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError) as caught:
        read_files([str(path)])
    assert str(caught.value).startswith(expected.replace("{}", str(path), 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("missing.json", "cannot read results from 'missing.json': No such file or directory"),
        ("*.json", "no file is like '*.json': give files that --json wrote"),
        (".", "cannot read results from '.': Is a directory"),
    ],
)
def test_a_file_that_is_not_there_is_one_line(tmp_path, monkeypatch, pattern, expected):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        read_files([pattern])
    assert expected == str(caught.value)
