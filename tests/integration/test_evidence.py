"""Bytes measured on real devices, predicted again without one to the byte.

A test whose name ends in ``by_its_own_figures`` runs nothing: what its file is about needs the
device. All others run this very code and compare.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import re

import pytest
from evidence_files import EVIDENCE, each, read

from fixtures.processes import runs_of
from oom_suite.allocator import peaks_of, replay
from oom_suite.doors import workload
from oom_suite.workloads.sparse_mla.geometry.scenarios import resize, scenario

# Its tests share what its fixtures make: one worker runs them all.
pytestmark = pytest.mark.xdist_group("evidence")


GRID = read("2026-11-22-h200-grid")
HISTORIES = read("2026-11-22-h200-allocator-histories")
ISSUE = read("2026-11-22-h200-issue-41962")
REPLAYS = {
    by: read(f"2026-11-22-h200-replay-{name}")["replay"]
    for by, name in (("ballast", "issue-41962"), ("limit", "by-limit"))
}
FIFTY = read("2026-11-26-h200-gate-50-times")
LANE = read("2026-11-27-h200-tox-cuda")
RANKS = read("2026-11-22-h200-two-gpus-ranks")
KINDS = ("requested", "allocated", "active", "reserved")
SUBJECTS = tuple(dict.fromkeys(row["subject"] for row in GRID["rows"]))


@pytest.fixture(scope="module")
def traces():
    """`traces(subject, sizes, workload)`: what the shadow lane records for the H200."""
    with contextlib.ExitStack() as stack:
        runs = functools.cache(lambda subject: stack.enter_context(runs_of(subject)))

        def ask(subject, sizes, name="decode"):
            return runs(subject).with_workload(workload(name)).known(sizes, scratch="cuda")

        yield ask


def figures(peaks):
    return {f"{kind}_bytes": getattr(peaks, f"{kind}_bytes") for kind in KINDS}


def picked(row, kinds=KINDS):
    return {f"{kind}_bytes": row[f"{kind}_bytes"] for kind in kinds}


@pytest.mark.parametrize("path", sorted(EVIDENCE.glob("*.json*")), ids=lambda path: path.stem)
def test_each_file_names_its_commit_and_the_command_that_makes_it_again(path):
    """Files of before the writer knew its commit say where theirs comes from."""
    data = path.read_bytes()
    body = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    commit = body.get("commit") or body["environment"]["commit"]
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert "commit_note" in body or body["environment"]["dirty"] is False
    assert body["command"]
    assert path.stem.startswith(body["date"])


@pytest.mark.parametrize("subject", each(SUBJECTS))
def test_the_grid_is_predicted_to_the_byte(traces, subject):
    """Each of 49 calls: all four peaks of the allocator, reserved among them."""
    expected, seen = {}, {}
    for row in (row for row in GRID["rows"] if row["subject"] == subject):
        name = f"{row['workload']} {row['scenario']}"
        expected[name] = picked(row["measured"])
        seen[name] = figures(peaks_of(traces(subject, row["sizes"], row["workload"])))
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


@pytest.mark.parametrize("subject", each(row["subject"] for row in FIFTY["rows"]))
def test_fifty_runs_of_the_gate_had_the_peaks_that_are_predicted(traces, subject):
    """All four peaks at the issue's pool; the 50 runs were alike, and are held as one."""
    (row,) = (row for row in FIFTY["rows"] if row["subject"] == subject)
    found = figures(peaks_of(traces(subject, scenario(FIFTY["scenario"]).sizes)))
    assert picked(row["measured"]) == found
    assert row["predicted"] == row["measured"]
    assert row["reason"].endswith("measured to the byte, 50 times alike")


def test_the_gates_verdicts_are_those_known_of_each_subject_by_its_own_figures():
    expected = dict.fromkeys(SUBJECTS, "PASS") | {"full_dequant": "FAIL", "vllm==0.21.0": "FAIL"}
    assert expected == {row["subject"]: row["verdict"] for row in FIFTY["rows"]}


@pytest.mark.parametrize("subject", each(row["subject"] for row in ISSUE["results"]))
def test_the_issues_pool_took_the_bytes_that_are_predicted(traces, subject):
    """What was requested: the file is older than the empty pool that calls are measured in."""
    (row,) = (row for row in ISSUE["results"] if row["subject"] == subject)
    found = traces(subject, row["sizes"]).peak().num_bytes
    assert (found, found) == (row["peak_requested_bytes"], row["process"]["peak_requested_bytes"])


@pytest.mark.oom_registry
@pytest.mark.parametrize("by", REPLAYS)
def test_the_replay_ended_at_the_request_that_the_modelled_allocator_refuses(traces, by):
    """The line, its bytes, and the words of the error; fixes take what is predicted of them."""
    body = REPLAYS[by]
    culprit, *fixes = body["attempts"]
    limits = {"limit_bytes" if by == "limit" else "free_bytes": body["headroom_bytes"]}
    trace = traces(culprit["subject"], body["sizes"])
    found = replay(trace, **limits)
    refused = trace.allocations[found.failed_allocation]
    said = culprit["out_of_memory"]
    assert said["requested_bytes"] == refused.requested_bytes == found.refusal.requested_bytes
    stack = [{"file": f.file, "line": f.line, "function": f.function} for f in refused.stack]
    assert said["stack"] == stack[:2]
    assert str(found.refusal).split(",")[0].replace("tried", "Tried") in said["message"]
    assert ("12.74 GiB is free" in said["message"]) == (by == "ballast")
    assert "12.74 GiB free" in str(found.refusal)
    for fix in fixes:
        peaks = peaks_of(traces(fix["subject"], body["sizes"]))
        taken = (peaks.requested_bytes, peaks.reserved_bytes)
        assert ("ran", fix["peak_bytes"], fix["taken_bytes"]) == (fix["end"], *taken)
        served = replay(traces(fix["subject"], body["sizes"]), **limits)
        assert served.failed_allocation is None


def test_two_ranks_took_the_bytes_that_are_predicted_for_their_share_of_the_heads(traces):
    """Each of two GPUs, for each of four built-ins: all four peaks."""
    assert 8 == len(RANKS["rows"])
    for row in RANKS["rows"]:
        sizes = resize(scenario("production").sizes, {"num_heads": row["num_heads"]})
        assert picked(row["measured"]) == figures(peaks_of(traces(row["subject"], sizes)))


def test_the_allocators_histories_differ_nowhere_by_its_own_figures():
    """Twelve of them are kept whole, and `tests/unit/allocator` follows those again."""
    assert [] == HISTORIES["mismatches"]
    assert HISTORIES["num_histories"] >= 200
    assert HISTORIES["num_events_least"] >= 500


def test_the_lane_was_green_and_left_nothing_out_by_its_own_figures():
    """Every device test passed, those that want two GPUs in one process among them."""
    assert (0, 0, []) == (LANE["num_failed"], LANE["num_skipped"], LANE["skipped"])
    assert LANE["num_passed"] == sum(LANE["tests_by_file"].values())
