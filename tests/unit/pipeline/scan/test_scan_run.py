"""Units that are run: a row for each, whatever their code does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oom_suite.doors import workload
from oom_suite.pipeline.judging import Study
from oom_suite.pipeline.scan import run
from oom_suite.pipeline.scan.run import row_of, run_units
from oom_suite.records import Law, Polynomial, Result, Verdict
from oom_suite.records.scan import Found, Unit

UNIT = Unit("streaming", "indexer-logits", "plain", "generic")
LOGITS = Polynomial.of({("batch", "max_model_len"): 4})
RESULT = Result(
    subject="streaming",
    workload="indexer-logits",
    lane="shadow",
    scenario="plain",
    sizes={},
    verdict=Verdict.PASS,
    reason="within its bound",
    law=Law((LOGITS, Polynomial.of({(): 64})), sizes={}),
    peak_requested_bytes=4096,
)


def test_a_row_has_the_law_its_bytes_and_what_of_it_is_by_design():
    row = row_of(UNIT, workload("indexer-logits"), RESULT, 1.5)
    assert (Found.PASS, "4*batch*max_model_len", 4096) == (row.found, row.law, row.peak_bytes)
    assert ("4*batch*max_model_len", "64") == row.regimes
    assert {"max_model_len"} == set(row.by_design)
    assert 1.5 == row.elapsed_s


@pytest.mark.parametrize(
    "more",
    [{"law": Law((Polynomial.of({(): 64}),), sizes={})}, {"verdict": Verdict.FAIL}],
    ids=["does not grow", "broken"],
)
def test_only_growth_of_a_law_that_keeps_its_promise_is_by_design(more):
    found = replace(RESULT, **more)
    assert {} == row_of(UNIT, workload("indexer-logits"), found, 0.0).by_design


@pytest.mark.parametrize(
    ("reason", "found", "shown"),
    [
        ("not applicable: there is no such code", Found.ABSENT, "there is no such code"),
        ("raised: ValueError: not applicable: x", Found.INCONCLUSIVE, None),
    ],
)
def test_missing_code_is_told_from_code_that_fails(reason, found, shown):
    result = replace(RESULT, verdict=Verdict.INCONCLUSIVE, reason=reason, law=None)
    row = row_of(UNIT, workload("indexer-logits"), result, 0.0)
    assert (found, shown or reason) == (row.found, row.reason)


@pytest.mark.parametrize("num_jobs", [1, 4])
def test_rows_come_in_the_order_of_units_and_each_is_told_at_once(monkeypatch, num_jobs):
    """Each has the unit's own scenario and target, and progress in its name."""
    asked = []

    def check(spec, settings, on_progress):
        on_progress(spec.text, "running")
        asked.append((settings.scenario, settings.target, settings.time_limit_s))
        return Study(RESULT)

    monkeypatch.setattr(run, "check", check)
    units = [UNIT, replace(UNIT, scenario="speculative"), replace(UNIT, target="cpu")]
    told, doing = [], []

    def on_row(row, worker):
        assert worker == ""
        told.append(row)

    rows = run_units(units, num_jobs, on_row, lambda *one: doing.append(one), 9.0)
    assert units == [row.unit for row in rows]
    assert sorted(units) == sorted(row.unit for row in told)
    assert {("streaming (indexer-logits)", "running")} == set(doing)
    expected = [("plain", "cpu", 9.0), ("plain", "generic", 9.0), ("speculative", "generic", 9.0)]
    assert expected == sorted(asked)
