"""Predictions of torch's own operators and modules, held against the GPU that is here."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from oom_suite.pipeline.conformance.run import Options, conformance
from oom_suite.records.conformance import Status
from oom_suite.report.conformance import wrong_text

pytestmark = [pytest.mark.oom_device, pytest.mark.xdist_group("conformance")]

_SUITES = {"of torch": ("operators", "modules"), "scaled": ("scaled",)}
_MIN_EXACT = {"of torch": 0.97, "scaled": 0.90}
_MAX_REFUSED = 0.02
_WIDEST = 1.5
_BY_VALUES = {"cumprod": 2.5}
"""Bounds of what values decide: for the gradient of a running product torch has three formulas, by
how many entries are zero, and the bound is that of the one that takes the most."""


@pytest.fixture(scope="module")
def found(oom_device):
    """The whole run; a GPU takes minutes for it."""
    run = conformance(Options(device=str(oom_device)))
    if folder := os.environ.get("OOM_SUITE_EVIDENCE"):
        (Path(folder) / "conformance.json").write_text(json.dumps(run.to_json()), encoding="utf-8")
    return run


def test_no_prediction_is_off_without_a_word(found):
    assert [] == [wrong_text(row) for row in found.wrong]


@pytest.mark.parametrize("which", _SUITES)
def test_almost_every_prediction_is_equal_to_the_byte(found, which):
    """Those that are refused are few; what the device itself cannot run is not counted."""
    counts = sum((found.counts(suite) for suite in _SUITES[which]), Counter())
    num_run = sum(counts.values()) - counts[Status.NOT_RUN]
    assert num_run > 0
    assert counts[Status.EXACT] / num_run >= _MIN_EXACT[which]
    assert counts[Status.REFUSED] / num_run <= _MAX_REFUSED


def test_bounds_are_close(found):
    """None is more than half above what was taken, but where values choose the formula."""
    wide = [
        row.key
        for row in found.rows
        if row.status is Status.BOUNDED and 1 + row.error > _BY_VALUES.get(row.name, _WIDEST)
    ]
    assert [] == wide
