"""What two GPUs measured of torch's operators is predicted again, a sample of the units."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from packaging.version import Version

from oom_suite.pipeline.conformance.again import conformance_again, kept_run
from oom_suite.pipeline.conformance.cases import SUITES
from oom_suite.pipeline.conformance.run import Options
from oom_suite.records.conformance import Status, compared
from oom_suite.report.conformance import wrong_text

pytestmark = pytest.mark.xdist_group("conformance")

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence"
FILES = {name: f"2026-11-27-{name}-conformance.json.gz" for name in ("h100", "h200")}
EVERY = 40
"""Each file's units are taken at this distance, each file's from another one on."""

OTHERS = {"histc", "nn.functional.multi_head_attention_forward", "nn.MultiheadAttention"}
"""Units that differ from 2.11's in torch 2.13: `histc` has samples up to 10 instead of up to 0, and
the heads of attention are joined by ``_unsafe_view`` instead of ``view``."""

BOUNDED_SINCE = ("conv2d", "mode", "prod", "rfft")
"""Units some of whose calls the H100's run names, and that have a bound since, as on the H200."""


@pytest.fixture(scope="module", params=FILES.values(), ids=FILES)
def measured(request):
    return kept_run(EVIDENCE / request.param)


def test_the_page_says_what_the_files_say(measured):
    page = (EVIDENCE.parent / "conformance.md").read_text("utf-8")
    counts = measured.counts()
    num_wrong, num_run = counts[Status.WRONG], measured.num_compared
    shown = (Status.EXACT, Status.BOUNDED, Status.NAMED, Status.REFUSED)
    cells = (measured.device, f"{num_run:,}", *(f"{counts[each]:,}" for each in shown))
    assert f"| {' | '.join(cells)} | {num_wrong:,} |" in page
    assert () == measured.wrong


@pytest.mark.skipif(
    Version(torch.__version__).release[:2] not in {(2, 11), (2, 13)},
    reason="which operators and samples differ from those of 2.11 is known of these alone",
)
def test_a_sample_is_predicted_again_without_a_wrong_one(measured):
    """Every fortieth unit; the others by `conformance --against`."""
    units = list(dict.fromkeys(row.name for row in measured.rows))
    first = 11 * list(FILES).index("h200" if "H200" in measured.device else "h100")
    chosen = set(units[first::EVERY]) - OTHERS
    found = conformance_again(measured, Options(suites=SUITES, only=tuple(sorted(chosen))))
    assert [] == [wrong_text(row) for row in found.wrong]
    assert found.counts()[Status.EXACT] >= 0.9 * found.num_compared > 0


def test_what_was_named_lies_within_its_bound_since(measured):
    """A figure above its bound would be wrong, by one byte."""
    rows = [row for row in measured.rows if row.name in BOUNDED_SINCE]
    loose = {Status.NAMED, Status.BOUNDED}
    named = {row.key for row in rows if row.suite == "scaled" and row.status in loose}
    found = conformance_again(measured, Options(suites=("scaled",), only=BOUNDED_SINCE))
    assert [] == [wrong_text(row) for row in found.wrong]
    assert {Status.BOUNDED} == {row.status for row in found.rows if row.key in named}
    assert {"mode", "prod"} == {row.name for row in found.bounded(by_data=True)}
    planted = max(found.bounded(by_data=False), key=lambda row: row.most_bytes)
    limits = planted.least_bytes, planted.most_bytes
    assert Status.WRONG is compared(*limits, planted.most_bytes + 1, is_named=False)
    assert Status.BOUNDED is compared(*limits, planted.most_bytes, is_named=False)
