"""`check --html`, from the command line into a real browser, offline."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from oom_suite.records import Law, Polynomial, Result, Verdict
from oom_suite.report.html import write_check_page

# One worker starts a browser.
pytestmark = pytest.mark.xdist_group("browser")


SIZES = {"swa_num_blocks": 4096, "extra_num_blocks": 4096, "num_tokens": 4}
GROWING = Polynomial.of({("swa_num_blocks",): 65536, ("extra_num_blocks",): 82048}, tuple(SIZES))
SMALL = Polynomial.of({("swa_num_blocks",): 65536, ("num_tokens",): 10**7}, tuple(SIZES))
FLAT = Polynomial.of({("num_tokens",): 1000}, tuple(SIZES))
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><a href='//evil'>$x$%{x}"
RIGHT = "ArrowRight"
DOWN = "ArrowDown"


@pytest.fixture(autouse=True)
def _extra():
    pytest.importorskip("plotly", reason="pages need the extra `report`: pip install .[report]")


def result(subject, *regimes, verdict=Verdict.PASS):
    law = Law(regimes, SIZES)
    peak = law(SIZES)
    return Result(
        subject,
        "decode",
        "shadow",
        "small",
        SIZES,
        verdict,
        "why",
        law=law,
        peak_requested_bytes=peak,
        peak_allocated_bytes=peak,
        largest_request_bytes=peak,
    )


@pytest.fixture
def page(tmp_path):
    bad = result("vllm==0.21.0", GROWING, SMALL, verdict=Verdict.FAIL)
    hostile = result(HOSTILE, FLAT)
    write_check_page([bad, result("streaming", FLAT), hostile], tmp_path / "page.html")
    return tmp_path / "page.html"


def line_lengths(browser):
    return browser.run(
        "return [...document.querySelectorAll('#chart .scatterlayer .trace path.js-line')]"
        ".map((path) => path.getTotalLength())"
    )


def test_every_subject_has_a_line_and_nothing_is_asked_of_the_network(browse, page):
    browser = browse(page)
    lengths = line_lengths(browser)
    assert 3 == len(lengths)
    assert min(lengths) > 300
    assert [] == browser.console()
    assert [page.as_uri()] == browser.requests()
    assert [] == browser.run("return performance.getEntriesByType('resource').map((e) => e.name)")


def test_the_switch_makes_the_axes_linear_and_logarithmic_again(browse, page):
    browser = browse(page)
    for kind in ("linear", "log"):
        browser.run(f"document.querySelector('input[value={kind}]').click()")
        browser.wait_for(f"document.getElementById('chart')._fullLayout.yaxis.type === '{kind}'")
        browser.wait_for("document.querySelectorAll('#chart path.js-line').length === 3")
        assert min(line_lengths(browser)) > 100
    assert [] == browser.console()


def test_a_subject_unchecked_in_the_legend_leaves_the_chart(browse, page):
    browser = browse(page)
    browser.run("document.querySelector('[data-curve=\"1\"]').click()")
    browser.wait_for("document.querySelectorAll('#chart path.js-line').length === 2")


def test_the_arrow_keys_read_the_laws_numbers(browse, page):
    browser = browse(page)
    browser.run("document.getElementById('chart').focus()")
    browser.press(RIGHT)
    peak = int(GROWING(SIZES))
    said = f"vllm==0.21.0 at 4,096 blocks: 576.50 MiB ({peak:,} bytes) = {GROWING}"
    assert said == browser.run("return document.getElementById('readout').textContent")
    browser.press(DOWN)
    assert browser.run("return document.getElementById('readout').textContent").startswith(
        "streaming at 4,096 blocks: 3.91 KiB (4,000 bytes)"
    )
    browser.wait_for("document.querySelector('#chart .hovertext') !== null")


def test_a_hostile_name_is_shown_as_it_is_written_and_does_nothing(browse, page):
    browser = browse(page)
    browser.run("document.getElementById('chart').focus()")
    browser.press(RIGHT, DOWN, DOWN)
    browser.wait_for(
        "document.querySelector('#chart .hovertext')?.textContent.startsWith('<' + '/script><sc')"
    )
    assert 0 == browser.run("return document.querySelectorAll('img, #chart a').length")
    assert [] == browser.console()


def test_on_a_phone_the_page_itself_does_not_scroll_sideways(browse, page):
    browser = browse(page, is_phone=True)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert [390, 390] == browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert 3 == len(line_lengths(browser))


def test_check_writes_the_page_with_the_source_of_the_blamed_line(tmp_path, suite, browse):
    done = suite("check", "full_dequant", "streaming", "--workload=decode", "--html=page.html")
    assert (0, "1 passed, 1 failed as expected") == (done.returncode, done.stdout.splitlines()[-1])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "values = torch.empty(" in text
    browser = browse(tmp_path / "page.html")
    assert 2 == len(line_lengths(browser))
    assert [] == browser.console()


@pytest.mark.oom_registry
def test_the_documented_command_writes_the_page_that_the_docs_show(suite, tmp_path):
    docs = (Path(__file__).parents[2] / "docs" / "page.md").read_text(encoding="utf-8")
    (line,) = [line for line in docs.splitlines() if line.startswith("oom-suite check")]
    done = suite(*shlex.split(line)[1:])
    assert (1, "4 passed, 1 failed") == (done.returncode, done.stdout.splitlines()[-1])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h1>vllm==0.21.0 fails: " in text
    assert "result = torch.empty(" in text
    assert "32,739,886,976 bytes" in text


@pytest.mark.usefixtures("without_plotly")
def test_without_the_extra_one_line_says_what_to_install(suite, tmp_path):
    """Before anything is run."""
    done = suite("check", "streaming", "--workload=decode", "--html=page.html")
    assert (2, "") == (done.returncode, done.stdout)
    (last,) = done.stderr.splitlines()
    assert last.startswith("oom-suite: --html: an HTML page needs plotly")
    assert last.endswith("pip install oom-suite[report]")
    assert not (tmp_path / "page.html").exists()
