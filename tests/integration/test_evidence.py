"""The evidence kept from real devices is what this very code predicts without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.processes import runs_of
from oom_suite.allocator import peaks_of
from oom_suite.doors import workload
from oom_suite.records.safety import PROPERTIES
from oom_suite.records.selfcheck import REQUIRED_BLOCKS_PER_BYTE
from oom_suite.selfcheck.faults.catalog import MUTANTS, TWINS

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence"
GRID = json.loads((EVIDENCE / "2026-11-22-h200-grid.json").read_text("utf-8"))
HISTORIES = json.loads((EVIDENCE / "2026-11-22-h200-allocator-histories.json").read_text("utf-8"))
REPLAY = json.loads((EVIDENCE / "2026-11-22-h200-replay-issue-41962.json").read_text("utf-8"))
KINDS = ("requested", "allocated", "active", "reserved")
SUBJECTS = tuple(dict.fromkeys(row["subject"] for row in GRID["rows"]))
MARKED = [
    pytest.param(name, marks=pytest.mark.oom_registry if "==" in name else ()) for name in SUBJECTS
]
CAPTURES = json.loads((EVIDENCE / "2026-11-27-h200-capture-agreement.json").read_text("utf-8"))
FIFTY = json.loads((EVIDENCE / "2026-11-26-h200-gate-50-times.json").read_text("utf-8"))
SAFETY = json.loads((EVIDENCE / "2026-11-27-h200-safety-of-releases.json").read_text("utf-8"))
SELFCHECK = json.loads((EVIDENCE / "2026-11-27-h200-selfcheck.json").read_text("utf-8"))
LANE = json.loads((EVIDENCE / "2026-11-27-h200-tox-cuda.json").read_text("utf-8"))
RANKS = json.loads((EVIDENCE / "2026-11-22-h200-two-gpus-ranks.json").read_text("utf-8"))


@pytest.mark.parametrize("subject", MARKED)
def test_the_grid_is_predicted_to_the_byte(subject):
    """Each of 49 calls: all four peaks of the allocator, reserved among them."""
    expected, seen = {}, {}
    with runs_of(subject) as runs:
        for row in (row for row in GRID["rows"] if row["subject"] == subject):
            name = f"{row['workload']} {row['scenario']}"
            of_workload = runs.with_workload(workload(row["workload"]))
            peaks = peaks_of(of_workload.known(row["sizes"], scratch="cuda"))
            expected[name] = {f"{kind}_bytes": row["measured"][f"{kind}_bytes"] for kind in KINDS}
            seen[name] = {f"{kind}_bytes": getattr(peaks, f"{kind}_bytes") for kind in KINDS}
    assert 49 == len(expected)
    assert expected == seen


def test_the_grid_covers_what_it_is_kept_for():
    """Every subject at every size, each of them explained."""
    sizes = [row["sizes"] for row in GRID["rows"]]
    assert 8 * 49 == len(GRID["rows"])
    assert {"explained"} == {row["outcome"] for row in GRID["rows"]}
    assert {64, 96, 256} <= {each["block_size"] for each in sizes}
    assert 221_839 == max(each["swa_num_blocks"] for each in sizes)
    assert {1, 128} <= {each["num_tokens"] for each in sizes}
    assert {8, 128} <= {each["num_heads"] for each in sizes}


def test_the_histories_differ_nowhere():
    """The allocator model against a real one, every counter after every event."""
    assert [] == HISTORIES["mismatches"]
    assert HISTORIES["num_histories"] >= 200
    assert HISTORIES["num_events_least"] >= 500


def test_the_replay_shows_the_issues_own_error():
    """13.54 GiB were asked for where 12.74 GiB were free; every fix ran there."""
    culprit, *fixes = REPLAY["replay"]["attempts"]
    said = culprit["out_of_memory"]["message"]
    assert "Tried to allocate 13.54 GiB" in said
    assert "12.74 GiB is free" in said
    assert [
        ("block_compaction", "ran"),
        ("token_gather", "ran"),
        ("streaming", "ran"),
        ("vllm==0.33.0", "ran"),
    ] == [(each["subject"], each["end"]) for each in fixes]


def test_no_real_capture_contradicted_the_record():
    """Both ways gave every case the same verdict; the one built-in refused is the known one."""
    tried = {row["case"] for row in CAPTURES["rows"]}
    assert {one.name for one in (*MUTANTS, *TWINS)} <= tried
    built_in = {"block_compaction", "full_dequant", "streaming", "token_gather"}
    refused = {row["case"] for row in CAPTURES["rows"] if row["verdict"] == "FAIL"}
    assert {"PASS", "FAIL"} == {row["verdict"] for row in CAPTURES["rows"]}
    assert not [row for row in CAPTURES["rows"] if "capture-disagreement" in str(row["hits"])]
    assert {"block_compaction"} == {case.partition("-")[0] for case in refused} & built_in


def test_fifty_runs_of_the_gate_were_alike():
    """Each subject 50 times: the predicted bytes, and the verdict that is known of it."""
    expected = dict.fromkeys(SUBJECTS, "PASS") | {
        "full_dequant": "FAIL",
        "vllm==0.21.0": "FAIL",
    }
    assert expected == {row["subject"]: row["verdict"] for row in FIFTY["rows"]}
    for row in FIFTY["rows"]:
        assert row["reason"].endswith("measured to the byte, 50 times alike")
        assert row["predicted"] == row["measured"]


def test_the_releases_break_what_the_docs_say_they_break():
    """Every property has a verdict on the GPU; the breaches are those of a CPU."""
    found = {
        one["subject"]: {
            finding["name"]: {hit["kind"] for hit in finding["hits"]}
            for finding in one["findings"]
            if finding["verdict"] != "PASS"
        }
        for one in SAFETY["safety"]
    }
    strides = {"indices": {"wrong-answer"}}
    assert found == {
        "vllm==0.21.0": {},
        "vllm==0.22.0": strides | {"capture": {"host-sync", "host-copy"}},
        "vllm==0.25.0": strides,
        "vllm==0.33.0": strides,
    }
    for one in SAFETY["safety"]:
        assert list(PROPERTIES) == [finding["name"] for finding in one["findings"]]


def test_the_self_check_saw_everything_on_the_gpu():
    """Every mutant and every twin of today's catalog was tried there, and each seen rightly."""
    seen = SELFCHECK["selfcheck"]["seen"]
    assert {one.name for one in (*MUTANTS, *TWINS)} == {one["name"] for one in seen}
    assert all(one["is_right"] for one in seen)
    assert SELFCHECK["selfcheck"]["blocks_a_byte"] >= REQUIRED_BLOCKS_PER_BYTE


def test_the_lane_was_green_and_left_nothing_out():
    """Every device test passed, those that want two GPUs in one process among them."""
    assert (0, 0, []) == (LANE["num_failed"], LANE["num_skipped"], LANE["skipped"])
    assert LANE["num_passed"] == sum(LANE["tests_by_file"].values())


def test_equal_shares_of_the_heads_took_equal_bytes():
    """Two ranks on two GPUs, for each of four subjects."""
    by_subject = {}
    for row in RANKS["rows"]:
        by_subject.setdefault(row["subject"], []).append(row["measured"])
    assert {2} == {len(peaks) for peaks in by_subject.values()}
    assert all(first == second for first, second in by_subject.values())
