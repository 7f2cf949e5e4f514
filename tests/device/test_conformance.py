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


def too_wide(found):
    """The names of calls whose bound is more than half above what was taken."""
    bounded = [row for row in found.rows if row.status is Status.BOUNDED]
    return {row.name for row in bounded if 1 + row.error > _WIDEST}


def test_bounds_are_close(found):
    """`cumprod` is held to the same figure by the next test."""
    assert set() == too_wide(found) - {"cumprod"}


@pytest.mark.xfail(
    strict=True,
    reason="not met: zeros choose among three formulas for the gradient of cumprod, and without "
    "one the bound is up to 2.43 times what is taken",
)
def test_the_bound_of_a_running_product_is_close(found):
    """It is to fail as soon as it is met, so that this mark goes."""
    assert "cumprod" not in too_wide(found)
