"""A scan as a table and as a page."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from oom_suite.records.scan import Found, ScanRow, Unit
from oom_suite.report.html import render_scan_page
from oom_suite.report.scan import again, closing_line, render_scan, span

PLACE = ("indexer-logits", "plain", "rocm:gfx942")
RELEASES = ("vllm==0.21.0", "vllm==0.22.0", "vllm==0.33.0")


def row(subject, found=Found.PASS, **more):
    given = {"law": "4*batch*max_model_len", "regimes": ("4*batch*max_model_len",)}
    given |= {"peak_bytes": 2048, **more}
    return ScanRow(Unit(subject, *PLACE), found, "within its bound", **given)


FAIL = row(
    RELEASES[0],
    Found.FAIL,
    law="65792*num_blocks",
    regimes=("65792*num_blocks",),
    peak_bytes=3 << 30,
    where="a.py:492 (logits)",
    next_command="oom-suite bisect --bad vllm==0.21.0",
)
FAIL = replace(FAIL, reason="peak grows with num_blocks (65,792 bytes per block)")
ALLOWED = {"max_model_len": "the logits are that wide"}
ROWS = (FAIL, row(RELEASES[1], by_design=ALLOWED), row(RELEASES[2], by_design=ALLOWED))


def text(rows, subjects=RELEASES, width=100, **more):
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    render_scan(rows, subjects, console, **more)
    return stream.getvalue()


def test_releases_with_one_law_share_a_row_and_a_failure_says_how_to_see_it_again(monkeypatch):
    """What is by design is marked in the table, and its reason stands below."""
    monkeypatch.setenv("COLUMNS", "100")
    assert text(ROWS, compares=True) == (
        "workload        release       verdict  law at the scenario           peak\n"
        f"{73 * chr(9472)}\n"
        "indexer-logits  vllm==0.21.0  FAIL     65792*num_blocks          3.00 GiB\n"
        "  plain\n"
        "indexer-logits  vllm==0.22.0  PASS     4*batch*max_model_len     2.00 KiB\n"
        "  plain           to 0.33.0            by design: max_model_len\n"
        "\n"
        "FAIL  vllm==0.21.0: indexer-logits, plain, rocm:gfx942\n"
        "  why     peak grows with num_blocks (65,792 bytes per block)\n"
        "  line    a.py:492 (logits)\n"
        "  again   oom-suite check vllm==0.21.0 --workload indexer-logits --scenario plain "
        "--target rocm:gfx942\n"
        "  next    oom-suite bisect --bad vllm==0.21.0\n"
        "\n"
        "by design:\n"
        "  indexer-logits grows with max_model_len: the logits are that wide\n"
        "\n"
        "what changed:\n"
        "  vllm==0.21.0 to vllm==0.22.0: indexer-logits, plain, rocm:gfx942 now keeps its promise "
        "(3.00 GiB to 2.00 KiB)\n"
        "\n"
        "1 broken, 2 kept\n"
    )


def test_what_a_release_lacks_is_named_and_a_stand_in_is_told(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    absent = replace(row(RELEASES[0], Found.ABSENT), law="", regimes=(), peak_bytes=None)
    absent = replace(absent, reason="vLLM 0.21.0 has no such code; first release is 0.22.0")
    shown = text((absent, row(RELEASES[1], notes=("a stand-in ran",))))
    assert "not there:\n  indexer-logits in vllm==0.21.0: vLLM 0.21.0 has no such code;" in shown
    assert "notes:\n  a stand-in ran\n" in shown
    assert shown.endswith("\n1 kept, 1 not there\n")


def test_a_narrow_table_stacks_and_shows_the_target_where_there_are_two(monkeypatch):
    monkeypatch.setenv("COLUMNS", "48")
    other = replace(FAIL, unit=replace(FAIL.unit, target="cuda:sm_90"))
    shown = text((FAIL, other), width=48)
    assert max(map(len, shown.split("\n\n")[0].splitlines())) <= 48
    assert "  cuda:sm_90\n" in shown


def test_what_is_wrong_everywhere_is_said_once():
    """A release that cannot be had: one block, whatever was to be judged of it."""
    missing = replace(row("vllm", Found.INCONCLUSIVE), reason="it is not installed")
    other = replace(missing, unit=replace(missing.unit, workload="decode"))
    shown = text((missing, other), ["vllm"], compares=False)
    assert "INCONCLUSIVE  vllm: indexer-logits, plain, rocm:gfx942, and 1 more\n" in shown
    assert 1 == shown.count("it is not installed")


def test_nothing_changed_and_nothing_scanned_are_said():
    assert "what changed:\n  nothing\n" in text(ROWS[1:], RELEASES[1:], compares=True)
    assert "nothing was scanned" == closing_line(())


@pytest.mark.parametrize(
    ("subjects", "shown"),
    [
        (["vllm==0.21.0"], "vllm==0.21.0"),
        (["vllm==0.21.0", "vllm==0.33.0"], "vllm==0.21.0 to 0.33.0"),
        (["vllm==0.21.0", "sglang==0.5.23"], "vllm==0.21.0 to sglang==0.5.23"),
        (["a.py:f", "b.py:f"], "a.py:f to b.py:f"),
    ],
)
def test_a_span_names_its_ends(subjects, shown):
    assert shown == span(subjects)


def test_the_command_that_shows_it_again_is_quoted():
    odd = replace(FAIL, unit=replace(FAIL.unit, subject="my file.py:f"))
    assert "oom-suite check 'my file.py:f' --workload indexer-logits" in again(odd)


def test_the_page_has_a_timeline_each_law_and_what_changed_and_escapes_what_it_shows():
    pytest.importorskip("jinja2", reason="pages need the extra `report`: pip install .[report]")
    bad = replace(ROWS[2], reason="<script>alert(1)</script>")
    page = render_scan_page((*ROWS[:2], bad), RELEASES)
    assert 3 == page.count('<td class="cell ')
    assert 1 == page.count('<td class="cell bad"><span class="verdict">FAIL</span> 3.00 GiB')
    assert 2 == page.count('<article class="card ')
    assert "now keeps its promise (3.00 GiB to 2.00 KiB)" in page
    assert "<dt>by design</dt><dd>max_model_len: the logits are that wide</dd>" in page
    assert "<script>alert(1)" not in page


def test_a_release_without_a_row_is_marked_as_not_scanned():
    pytest.importorskip("jinja2", reason="pages need the extra `report`: pip install .[report]")
    assert 'absent"><span class="verdict">not scanned' in render_scan_page(ROWS[:1], RELEASES)


@pytest.mark.parametrize("width", [40, 72, 88, 100, 116, 150, 200])
def test_nothing_is_cut_off_however_wide_the_screen_is(monkeypatch, width):
    """Terms of a law break the line before them; a verdict and an amount stay whole."""
    monkeypatch.setenv("COLUMNS", str(width))
    law = " + ".join(f"{number}*batch*max_model_len" for number in range(1000, 1012))
    wide = row(RELEASES[1], Found.INCONCLUSIVE, law=law, regimes=(law,), peak_bytes=500 << 20)
    shown = text((wide, FAIL), width=width)
    assert "…" not in shown
    for whole in ("INCONCLUSIVE", "500.00 MiB", "1011*batch*max_model_len"):
        assert whole in shown
