"""What docs/findings says is what the scans of docs/evidence have."""

from __future__ import annotations

import re

import pytest
from evidence_files import ROOT, read

from oom_suite.records.scan import Found, ScanRow, changes, stretches
from oom_suite.report.scan import num_bytes_text

BODY = read("2026-11-28-scan-of-releases")
FINDINGS = ROOT / "docs" / "findings"
ROWS = {
    name: [ScanRow.from_json({"notes": (), **row}) for row in scan["rows"]]
    for name, scan in BODY["scans"].items()
}


def subjects(name):
    return BODY["scans"][name]["subjects"]


def test_every_unit_was_judged_from_a_clean_checkout():
    """None is missing, and none is inconclusive."""
    assert not BODY["environment"]["dirty"]
    for name, rows in ROWS.items():
        assert BODY["scans"][name]["num_units"] == len({row.unit.key for row in rows})
        assert not [row for row in rows if row.found is Found.INCONCLUSIVE]


PLACES = sorted(
    {row.unit.workload for rows in ROWS.values() for row in rows if row.found is Found.FAIL}
)


@pytest.mark.parametrize("workload", PLACES)
def test_every_failure_has_a_page_with_its_law_and_its_bytes(workload):
    """No finding is left out."""
    pages = [page.read_text("utf-8") for page in FINDINGS.glob("*.md")]
    for rows in ROWS.values():
        for row in rows:
            if row.found is Found.FAIL and row.unit.workload == workload:
                told = [page for page in pages if f"{row.law}`" in page or f"`{row.law} " in page]
                assert told, row.law
                assert any(num_bytes_text(row.peak_bytes) in page for page in pages)


def test_the_table_s_cures_are_where_the_scan_has_them():
    """The releases before which and from which on a promise is kept."""
    found = changes(ROWS["vllm"], subjects("vllm"))
    cured = {one.place[0]: one.after.unit.subject for one in found if one.kind == "cured"}
    assert {
        "decode": "vllm==0.22.0",
        "decode-swa": "vllm==0.22.0",
        "sparse-prefill": "vllm==0.22.0",
        "prefill-workspace": "vllm==0.24.0",
        "prefill-workspace-rocm": "vllm==0.32.0",
        "indexer-logits-rocm": "vllm==0.31.0",
    } == cured
    table = (FINDINGS / "README.md").read_text("utf-8")
    for release in set(cured.values()):
        assert re.search(rf"\b{re.escape(release.partition('==')[2])}\b", table)


def test_what_is_broken_in_the_newest_releases_is_said_to_be_open():
    """Two of the indexer's in vLLM, both steps of sglang, and the sliding window's cache."""
    broken = {
        name: {
            one.place[0]
            for one in stretches(rows, subjects(name))
            if one.row.found is Found.FAIL and subjects(name)[-1] in one.subjects
        }
        for name, rows in ROWS.items()
    }
    assert {
        "vllm": {"indexer-logits", "indexer-prefill"},
        "sglang": {"decode", "decode-swa"},
        "transformers": {"sliding-cache"},
    } == broken
