"""Predictions of torch's own operators and modules, held against the GPU that is here."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from oom_suite.pipeline.conformance.run import Options, conformance
from oom_suite.records.conformance import Status
from oom_suite.records.libraries import CUDNN
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


def too_wide(found, *, of_library):
    """The names of calls whose bound is more than half above what was taken.

    Those in which data decides are left out: their bound is what other data takes.
    """
    rows = found.bounded(by_data=False)
    wide = [row for row in rows if 1 + row.error > _WIDEST]
    return {row.name for row in wide if (CUDNN in row.libraries) is of_library}


def test_bounds_are_close(found):
    """Those of convolutions are held to the same figure by the next test."""
    assert set() == too_wide(found, of_library=False)


@pytest.mark.xfail(
    strict=True,
    reason="not met: cuDNN states no limit, and what its documented algorithms may keep is up to "
    "7.6 times what the one that it chose takes (docs/conformance.md)",
)
def test_the_bounds_of_convolutions_are_close(found):
    """It is to fail as soon as it is met, so that this mark goes."""
    assert set() == too_wide(found, of_library=True)


def test_data_decides_what_the_gradients_of_products_take(found):
    """Their bound is what the worst data takes: no call is above it, and they are counted apart."""
    by_data = {row.name for row in found.bounded(by_data=True)}
    assert {"cumprod", "prod"} <= by_data
