"""The page of `law --html`: what stands in it, and that nothing from outside acts in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction

import pytest

from oom_suite.laws.contracts import parse_polynomial
from oom_suite.records import Blame, Frame, Law, Result, Verdict
from oom_suite.records.law_page import LawPage, LimitRow, TermRow, ValueRow
from oom_suite.report.html import page as page_module
from oom_suite.report.html import render_law_page, write_law_page

pytest.importorskip("jinja2", reason="pages need the extra `report`: pip install .[report]")

SIZES = {"num_blocks": 500, "num_tokens": 4, "block_size": 64}
HOSTILE = "</script><script>alert(1)</script><img src=//evil/x onerror=alert(1)>\"'&<b>"


def formula(text):
    return parse_polynomial(text, tuple(SIZES))


LAW = Law((formula("100*num_blocks"), formula("8000*num_tokens")), SIZES, {"block_size": 64}, 9)
PAGE = LawPage(
    subject="s.py:decode",
    workload="decode",
    scenario="small",
    law=LAW,
    elsewhere=(({"num_tokens": 9}, Law((formula("7*num_blocks"),), SIZES)),),
    notes=("seen",),
    terms=(
        TermRow(
            formula("100*num_blocks"),
            50_000,
            ((Frame("s.py", 5, "decode"), Fraction(99)), (None, Fraction(1))),
        ),
    ),
    values=(ValueRow("small", 50_000, 50_000),),
    budget="1GiB",
    limits=(LimitRow("num_blocks", 1234),),
)
RESULT = Result(
    subject="s.py:decode",
    workload="decode",
    lane="shadow",
    scenario="small",
    sizes=SIZES,
    verdict=Verdict.FAIL,
    reason="peak grows with num_blocks",
    law=LAW,
    peak_requested_bytes=50_000,
    blame=(Blame("s.py", 5, "decode", 50_000, "num_blocks", 100.0),),
)


@pytest.fixture(autouse=True)
def small_plotly(monkeypatch):
    """Five megabytes less in each page; the integration test has the real one."""
    monkeypatch.setattr(page_module, "plotly_js", lambda: "/* plotly.js */")


def chart_of(text):
    (data,) = re.findall(r'id="chart-data">(.*?)</script>', text)
    return json.loads(data)


def test_the_page_has_all_that_the_text_has():
    """Formula, regimes, assumptions, terms with their lines, values, limits."""
    text = render_law_page(PAGE, RESULT)
    for said in (
        "<h1>The law of s.py:decode</h1>",
        "<code>100*num_blocks</code>",
        "<code>8000*num_tokens</code>",
        "at pools 1 to 319",
        "wins at the scenario; at pools from 320 on",
        "Where num_tokens = 9: <code>7*num_blocks</code>",
        "<mark>100*num_blocks</mark>",
        "99 bytes per num_blocks: s.py:5 (decode)",
        "1 bytes per num_blocks: no line of the code under test",
        "<li>block_size = 64 (not varied)</li>",
        "<li>seen</li>",
        "<li>1GiB takes at most 1,234 num_blocks</li>",
    ):
        assert said in text


def test_the_chart_is_that_of_the_law():
    """One curve, with the page's own law at every pool, and where its formula changes."""
    drawn = chart_of(render_law_page(PAGE, RESULT))
    (curve,) = drawn["curves"]
    assert curve["peaks"] == [max(100 * n, 32_000) for n in drawn["pools"]]
    # Equal at 320: the first formula wins there.
    assert [320] == [drawn["pools"][point] for point in curve["changes"]]


def test_a_law_with_sizes_that_data_decides_is_drawn_as_fitted():
    """A proved law that cannot be evaluated has the fitted one's curve, and the page says so."""
    proved = Law((parse_polynomial("100*distinct", ("distinct",)),), SIZES)
    term = TermRow(proved.here, None, ())
    text = render_law_page(replace(PAGE, law=proved, terms=(term,)), RESULT)
    assert "The curve is the law as fitted to exact runs" in text
    assert chart_of(text)["curves"][0]["peaks"]


def test_a_pool_that_the_law_holds_is_not_swept():
    """A law that speaks of one pool size has no curve over pool sizes."""
    law = Law((formula("8*num_tokens"),), SIZES, {"num_blocks": 500})
    text = render_law_page(replace(PAGE, law=law), replace(RESULT, law=law, blame=()))
    assert "null" == text.split('id="chart-data">')[1].split("<")[0]


def test_names_from_outside_are_text_wherever_they_stand():
    """Nothing of a hostile name becomes a tag, and no script but the page's own may run."""
    line = (Frame(HOSTILE, 1, HOSTILE), Fraction(1))
    page = replace(
        PAGE,
        subject=HOSTILE,
        workload=HOSTILE,
        scenario=HOSTILE,
        law=replace(LAW, sizes={**SIZES, HOSTILE: 3}, notes=(HOSTILE,)),
        elsewhere=(({HOSTILE: 3}, LAW),),
        notes=(HOSTILE,),
        terms=(TermRow(formula("9*num_blocks"), 9, (line,)),),
        values=(ValueRow(HOSTILE, 3, 3),),
        budget=HOSTILE,
        limits=(LimitRow(HOSTILE, 3, HOSTILE),),
    )
    text = render_law_page(page, replace(RESULT, subject=HOSTILE, reason=HOSTILE))
    plain = render_law_page(PAGE, RESULT)
    for tag in ("<script", "</script", "<img", "<b>"):
        assert plain.count(tag) == text.count(tag)
    assert HOSTILE == chart_of(text)["curves"][0]["name"]
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in text
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_file_is_written(tmp_path):
    """The file is the page."""
    write_law_page(PAGE, RESULT, tmp_path / "law.html")
    assert render_law_page(PAGE, RESULT) == (tmp_path / "law.html").read_text(encoding="utf-8")
