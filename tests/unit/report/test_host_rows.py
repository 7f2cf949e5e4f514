"""Where the host's laws stand in reports: beside the device's, and only where there are some."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from oom_suite.records import HostMemory, Law, Polynomial, Result, Verdict
from oom_suite.report import failure_text, render
from oom_suite.report.html.check_page import render_check_page

SIZES = {"pool": 512, "n": 4}
RESULT = Result(
    subject="copies",
    workload="memory_law",
    lane="shadow",
    scenario="default",
    sizes=SIZES,
    verdict=Verdict.FAIL,
    reason="host memory: peak grows with pool (256 bytes per pool)",
    law=Law((Polynomial.of({("n",): 8}),), SIZES),
    peak_requested_bytes=32,
    largest_request_bytes=32,
)
PAGEABLE = HostMemory(
    "pageable",
    Law((Polynomial.of({("pool",): 256}),), SIZES),
    131_072,
    Verdict.FAIL,
    "peak grows with pool (256 bytes per pool)",
)
PINNED = HostMemory(
    "pinned", Law((Polynomial.of({(): 64}),), SIZES), 64, Verdict.PASS, "the same at all sizes"
)


def table(result):
    console = Console(file=io.StringIO(), width=100)
    render([result], console)
    return [line.split() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ((), []),
        ((PAGEABLE,), [["host:", "256*pool", "128.00", "KiB"]]),
        (
            (PAGEABLE, PINNED),
            [["host:", "256*pool", "128.00", "KiB"], ["pinned:", "64", "64", "B"]],
        ),
    ],
    ids=["none", "pageable", "both"],
)
def test_the_table_has_a_line_for_each_kind_of_host_memory(host, expected):
    """Law and peak stand below the device's, in the same columns."""
    rows = table(replace(RESULT, host=host))
    assert expected == [row for row in rows if row[:1] in (["host:"], ["pinned:"])]


def test_a_failure_has_a_row_of_the_host():
    text = failure_text(replace(RESULT, host=(PAGEABLE, PINNED)))
    assert (
        "  host     pageable 128.00 KiB (131,072 bytes): 256*pool\n"
        "           pinned 64 B: 64" in text
    )
    assert "\n  host " not in failure_text(RESULT)


def test_the_page_has_the_hosts_law_on_the_subjects_card():
    page = render_check_page([replace(RESULT, host=(PAGEABLE,))])
    assert "pageable 128.00 KiB (131,072 bytes): 256*pool" in page
