"""`oom-suite scan`: one table of laws, a file that has at any moment what is known, a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oom_suite.cli import scan
from oom_suite.records.scan import Found, ScanRow
from oom_suite.report.html import write_scan_page

SUBJECT = """
def gather(out, k_cache, slot_indices, block_size):
    out.zero_()


def converts(out, k_cache, slot_indices, block_size):
    k_cache.float()
    out.zero_()
"""
GATHER = ("--workload", "gather")


@pytest.fixture
def subjects(tmp_path):
    (tmp_path / "s.py").write_text(SUBJECT, encoding="utf-8")
    return "s.py:gather", "s.py:converts"


def test_a_fault_and_its_healthy_twin_are_told_apart(suite, subjects, tmp_path):
    """In the table, in the exit code and in JSON, which the page can be made of again."""
    done = suite("scan", *subjects, *GATHER, "--json", "a.json", "--html", "a.html", "--jobs", "1")
    assert 1 == done.returncode, done.stderr
    assert done.stdout.endswith("\n1 broken, 1 kept\n")
    assert "  again   oom-suite check s.py:converts --workload gather" in done.stdout
    assert "2 of 2: s.py:converts | gather | prefill" in done.stderr
    body = json.loads((tmp_path / "a.json").read_text("utf-8"))
    rows = [ScanRow.from_json(values) for values in body["scan"]["rows"]]
    assert [(Found.PASS, True), (Found.FAIL, True)] == [
        (row.found, row.elapsed_s > 0) for row in rows
    ]
    assert "149504*num_blocks" == rows[1].law
    assert (True, 2) == (body["is_complete"], body["scan"]["num_units"])
    write_scan_page(rows, body["scan"]["subjects"], tmp_path / "b.html")
    pages = [Path(tmp_path, name).read_text("utf-8") for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_an_interruption_loses_nothing_that_was_found(suite, subjects, tmp_path, monkeypatch):
    """The file has the row that there was, and says that it is not all."""

    def interrupted(units, num_jobs, on_row, on_progress, time_limit_s):
        on_row(ScanRow(units[0], Found.PASS, "kept"), "")
        raise KeyboardInterrupt

    monkeypatch.setattr(scan, "run_units", interrupted)
    done = suite("scan", *subjects, *GATHER, "--json", "a.json")
    assert (130, "") == (done.returncode, done.stdout)
    body = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert (False, 2) == (body["is_complete"], body["scan"]["num_units"])
    assert ["s.py:gather"] == [row["subject"] for row in body["scan"]["rows"]]


def test_what_changed_since_a_release_is_said(suite, tmp_path, monkeypatch):
    """Both are scanned, the older first; the exit code is the newer one's."""

    def found(units, num_jobs, on_row, on_progress, time_limit_s):
        for unit in units:
            on_row(ScanRow(unit, Found.FAIL if "0.21" in unit.subject else Found.PASS, "so"), "")

    monkeypatch.setattr(scan, "run_units", found)
    words = ("vllm==0.22.0", "--since", "vllm==0.21.0", "--workload", "decode-swa")
    done = suite("scan", *words, "--json", "a.json")
    assert 0 == done.returncode
    assert "  vllm==0.21.0 to vllm==0.22.0: decode-swa, issue-41962, " in done.stdout
    assert "now keeps its promise\n" in done.stdout
    body = json.loads((tmp_path / "a.json").read_text("utf-8"))["scan"]
    assert ["cured"] == [change["kind"] for change in body["changes"]]


def test_quiet_is_one_line(suite, subjects, monkeypatch):
    def found(units, num_jobs, on_row, on_progress, time_limit_s):
        on_row(ScanRow(units[0], Found.INCONCLUSIVE, "too slow"), "")

    monkeypatch.setattr(scan, "run_units", found)
    done = suite("scan", subjects[0], *GATHER, "--quiet")
    assert (3, "1 not judged\n", "") == (done.returncode, done.stdout, done.stderr)
