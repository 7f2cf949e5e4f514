"""The page on accuracy is what its evidence says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import mean

import pytest

from oom_suite.records.conformance import ConformanceRow, Status

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "accuracy.md").read_text("utf-8")
EVIDENCE = "evidence/2026-11-27-h200-models.json"
BODY = json.loads((ROOT / "docs" / EVIDENCE).read_text("utf-8"))
ROWS = [ConformanceRow.from_json(row) for row in BODY["rows"]]
STEPS = ("forward", "training", "decoding")
SHOWN = (Status.EXACT, Status.NAMED, Status.WRONG, Status.REFUSED)


def step_of(row):
    return row.case.split()[-1]


def percent(share):
    """A share as the page writes it."""
    return f"{share:.2%}" if share else "0"


def table_row(name, rows):
    """A row of the page: how many calls fared how, and how far off both predictors were."""
    counts = Counter(row.status for row in rows)
    ours = [abs(row.error) for row in rows if row.error is not None]
    theirs = [abs(row.tracker_error) for row in rows if row.tracker_error is not None]
    cells = [name, *(str(counts[status]) for status in SHOWN)]
    for errors in (ours, theirs):
        cells += [percent(mean(errors)), percent(max(errors))] if errors else ["", ""]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("step", STEPS)
def test_each_step_has_its_row(step):
    assert table_row(step, [row for row in ROWS if step_of(row) == step]) in PAGE


@pytest.mark.parametrize("name", sorted({row.name for row in ROWS}))
def test_each_architecture_has_its_row(name):
    assert table_row(name, [row for row in ROWS if row.name == name]) in PAGE


def test_the_whole_has_its_row():
    assert table_row("**all**", ROWS) in PAGE


def test_every_row_of_the_page_is_one_of_these():
    """None is left of an older file."""
    names = {row.name for row in ROWS} | {*STEPS, "**all**"}
    cells = [line.split("|") for line in PAGE.splitlines() if line.count("|") == 10]
    shown = [each[1].strip() for each in cells if each[2].strip().isdigit()]
    assert names == set(shown)
    assert len(names) == len(shown)


def test_the_page_names_its_evidence_and_the_run():
    for text in (EVIDENCE, BODY["device"], BODY["torch"], BODY["date"], BODY["command"]):
        assert text in PAGE
    left_out = BODY["left_out"]
    assert (f"{left_out} units were left out" if left_out else "No unit was left out") in PAGE
    wrong = [row for row in ROWS if row.status is Status.WRONG]
    assert all(row.name in PAGE for row in wrong)
    assert f"{len({row.name for row in ROWS})} architectures" in PAGE
