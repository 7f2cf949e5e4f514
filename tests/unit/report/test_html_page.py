"""The page of `check --html`: what stands in it, and that nothing from outside acts in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from oom_suite.records import Blame, BudgetFit, Law, Polynomial, Result, Verdict
from oom_suite.report.html import page, render_check_page
from oom_suite.report.html.check_page import verdict_sentence

pytest.importorskip("jinja2", reason="pages need the extra `report`: pip install .[report]")

SIZES = {"swa_num_blocks": 221_839, "extra_num_blocks": 221_839}
SIZES |= {"num_tokens": 4, "referenced_blocks": 64}
LARGE = Polynomial.of({("swa_num_blocks",): 65536, ("extra_num_blocks",): 82048}, tuple(SIZES))
SMALL = Polynomial.of(
    {("swa_num_blocks",): 65536, ("extra_num_blocks",): 65536, ("num_tokens",): 2_500_000},
    tuple(SIZES),
)
FLAT = Polynomial.of({("num_tokens",): 10_000, (): 8}, tuple(SIZES))
FILE = "vllm/ops/sparse.py"
BUG = Result(
    subject="vllm==0.21.0",
    workload="decode",
    lane="shadow",
    scenario="issue-41962",
    sizes=SIZES,
    verdict=Verdict.FAIL,
    reason="peak grows with swa_num_blocks",
    law=Law((LARGE, SMALL), SIZES),
    peak_requested_bytes=32_739_886_976,
    peak_allocated_bytes=32_742_702_976,
    largest_request_bytes=14_538_440_704,
    budget=BudgetFit("12.74GiB", 13_679_470_837, fits=False),
    blame=(Blame(FILE, 3, "dequantize", 14_538_440_704, "swa_num_blocks", 65536.0),),
    next_command="oom-suite bisect --bad vllm==0.21.0",
)
FIX = replace(
    BUG,
    subject="vllm==0.33.0",
    verdict=Verdict.PASS,
    reason="independent of the pools",
    law=Law((FLAT,), SIZES),
    peak_requested_bytes=40_008,
    budget=BudgetFit("12.74GiB", 13_679_470_837, fits=True),
    blame=(),
    next_command="",
)
UNKNOWN = Result(
    "x.py:f", "decode", "shadow", "issue-41962", SIZES, Verdict.INCONCLUSIVE, "raised ValueError"
)
SOURCES = {("vllm==0.21.0", FILE): ["import torch", "", "out = torch.empty(", "    n)", "x"]}

HOSTILE = "</script><script>alert(1)</script><img src=//evil/x onerror=alert(1)>\"'&<b>"


@pytest.fixture(autouse=True)
def small_plotly(monkeypatch):
    """Five megabytes less in each page; the integration test has the real one."""
    monkeypatch.setattr(page, "plotly_js", lambda: "/* plotly.js */")


class Reader(HTMLParser):
    """Every tag with its attributes, every text outside of scripts, and the data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.data, self.marked = [], [], "", []
        self._open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "path", "br"}:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open
        assert tag == self._open.pop()[0]

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag, attrs = self._open[-1] if self._open else ("", {})
        if attrs.get("id") == "chart-data":
            self.data += data
        elif tag == "mark":
            self.marked.append(data)
        if tag not in {"script", "style"} and data.strip():
            self.texts.append(" ".join(data.split()))


def read(results, sources=()):
    return Reader(render_check_page(results, dict(sources)))


def chart_of(results):
    return json.loads(read(results).data)


def test_the_page_says_the_verdict_in_a_sentence_then_how_much_where_and_what_next():
    texts = read([BUG, FIX], SOURCES).texts
    head = " ".join(texts[:30])
    assert "vllm==0.21.0 fails: peak grows with swa_num_blocks" in head
    assert "Its peak is 30.49 GiB (32,739,886,976 bytes)" in head
    assert "13.54 GiB in one request, 17.75 GiB over 12.74GiB" in head
    assert "vllm/ops/sparse.py:3 (dequantize)" in texts
    assert "oom-suite bisect --bad vllm==0.21.0" in texts
    assert "1 passed, 1 failed" in texts


def test_the_chart_has_the_laws_numbers_at_every_pool_and_nothing_else():
    drawn = chart_of([BUG, FIX])
    assert ["vllm==0.21.0", "vllm==0.33.0"] == [curve["name"] for curve in drawn["curves"]]
    for result, curve in zip([BUG, FIX], drawn["curves"], strict=True):
        for pool, peak, text in zip(drawn["pools"], curve["peaks"], curve["texts"], strict=True):
            at = {**SIZES, "swa_num_blocks": pool, "extra_num_blocks": pool}
            assert result.law(at) == peak
            assert f"{peak:,} bytes" in text
    assert [[221_839, ""]] == drawn["marks"]
    assert 221_839 in drawn["pools"]


def test_a_regime_begins_at_the_very_block_at_which_its_formula_begins_to_win():
    drawn = chart_of([BUG])
    (curve,) = drawn["curves"]
    (change,) = curve["changes"]
    # 16512 * n > 10,000,000 first at 606.
    assert 606 == drawn["pools"][change]
    assert (1, 0) == (curve["winners"][change - 1], curve["winners"][change])
    texts = " ".join(read([BUG]).texts)
    assert "wins at the scenario; at pools from 606 on" in texts
    assert "at pools 64 to 605" in texts


def test_budgets_are_lines_to_the_byte_and_the_one_asked_for_is_told_apart():
    budgets = {budget["name"]: budget for budget in chart_of([BUG])["budgets"]}
    assert {"12.74GiB", "H200", "MI300X", "MI325X", "MI355X"} == set(budgets)
    assert 13_679_470_837 == budgets["12.74GiB"]["bytes"]
    assert ["12.74GiB"] == [name for name, budget in budgets.items() if budget["is_asked"]]


def test_the_guilty_terms_are_marked_and_no_others():
    assert ["65536*swa_num_blocks"] == read([BUG, FIX]).marked


def test_only_the_unexpected_failure_is_loud():
    known = replace(BUG, subject="full_dequant", expected=Verdict.FAIL)
    curves = chart_of([known, BUG, FIX])["curves"]
    assert [False, True, False] == [curve["is_loud"] for curve in curves]
    assert ["known", "bad", "c0"] == [curve["tone"] for curve in curves]


def test_the_blamed_line_stands_among_its_neighbours_with_what_it_holds():
    reader = read([BUG], SOURCES)
    assert "out = torch.empty(" in reader.texts
    assert "13.54 GiB at the scenario, 65,536 bytes per swa_num_blocks" in reader.texts
    guilty = [attrs for tag, attrs in reader.tags if tag == "li" and "guilty" == attrs.get("class")]
    assert 1 == len(guilty)


def test_without_the_source_the_line_is_named_all_the_same():
    texts = read([BUG]).texts
    assert "vllm/ops/sparse.py:3 (dequantize)" in texts
    assert "13.54 GiB at the scenario, 65,536 bytes per swa_num_blocks" in texts


def test_a_result_without_a_law_has_a_row_and_a_reason_and_no_curve():
    reader = read([UNKNOWN, FIX])
    assert ["vllm==0.33.0"] == [curve["name"] for curve in json.loads(reader.data)["curves"]]
    assert "x.py:f has no curve: it has no law over these axes." in reader.texts
    assert "x.py:f cannot be judged: raised ValueError" in " ".join(reader.texts)
    assert "INCONCLUSIVE" in reader.texts


@pytest.mark.parametrize("results", [[], [UNKNOWN]], ids=["nothing", "no law"])
def test_without_any_law_there_is_a_page_and_no_chart(results):
    reader = read(results)
    assert "null" == reader.data
    assert "chart" not in [attrs.get("id") for _, attrs in reader.tags]


def test_a_law_without_a_pool_among_its_sizes_has_no_chart():
    sizes = {"num_rows": 10}
    law = Law((Polynomial.of({("num_rows",): 4}),), sizes)
    assert "null" == read([replace(FIX, sizes=sizes, law=law, budget=None)]).data


def test_the_axis_to_blame_is_swept_where_there_is_no_pool():
    sizes = {"num_rows": 10, "num_columns": 3}
    law = Law((Polynomial.of({("num_rows",): 4}),), sizes)
    blame = (Blame("a.py", 1, "f", 40, "num_rows", 4.0),)
    drawn = chart_of([replace(BUG, sizes=sizes, law=law, blame=blame)])
    assert ["num_rows"] == drawn["axes"]
    assert drawn["curves"][0]["peaks"] == [4 * n for n in drawn["pools"]]


def test_thirty_results_are_all_drawn_and_no_two_look_the_same():
    results = [replace(FIX, subject=f"vllm==0.{n}.0") for n in range(30)]
    curves = chart_of(results)["curves"]
    assert 30 == len(curves)
    assert 30 == len({(curve["tone"], curve["dash"]) for curve in curves})


def test_pools_of_different_sizes_are_both_marked_by_name():
    drawn = chart_of([replace(FIX, sizes={**SIZES, "swa_num_blocks": 128})])
    assert [[128, "swa_num_blocks"], [221_839, "extra_num_blocks"]] == drawn["marks"]


def test_a_law_of_no_bytes_is_a_page():
    assert 0 == max(
        chart_of([replace(FIX, law=Law((Polynomial({}),), SIZES))])["curves"][0]["peaks"]
    )


def hostile():
    blame = (Blame(f"{HOSTILE}.py", 1, HOSTILE, 5, "swa_num_blocks", 1.0),)
    sizes = {**SIZES, HOSTILE: 3}
    law = Law((LARGE,), sizes, notes=(HOSTILE,))
    return replace(
        BUG,
        subject=HOSTILE,
        workload=HOSTILE,
        scenario=HOSTILE,
        sizes=sizes,
        reason=HOSTILE,
        law=law,
        blame=blame,
        notes=(HOSTILE,),
        next_command=HOSTILE,
        budget=BudgetFit(HOSTILE, 5, fits=False),
    )


def test_names_from_outside_are_text_wherever_they_stand():
    result = hostile()
    reader = read([result], {(HOSTILE, f"{HOSTILE}.py"): [HOSTILE]})
    plain = read([BUG], SOURCES)
    assert [tag for tag, _ in plain.tags if tag in {"script", "img", "b"}] == [
        tag for tag, _ in reader.tags if tag in {"script", "img", "b"}
    ]
    assert not [key for _, attrs in reader.tags for key in attrs if key.startswith("on")]
    assert HOSTILE == json.loads(reader.data)["curves"][0]["name"]
    assert HOSTILE in " ".join(reader.texts)


def test_the_page_loads_nothing_and_only_its_own_scripts_may_run():
    reader = read([BUG, FIX], SOURCES)
    loads = [
        value
        for tag, attrs in reader.tags
        for key, value in attrs.items()
        if key in {"src", "href", "srcset", "data", "action", "poster"}
    ]
    assert ["data:,"] == loads
    text = render_check_page([BUG, FIX], SOURCES)
    assert not re.search(r"url\(|@import|https?://", text)
    (policy,) = [a["content"] for t, a in reader.tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert 2 == policy.count("'sha256-")
    assert "script-src 'unsafe-inline'" not in policy


def test_the_switch_and_the_legend_are_controls_that_a_keyboard_reaches():
    reader = read([BUG, FIX])
    inputs = [attrs for tag, attrs in reader.tags if tag == "input"]
    assert ["radio", "radio", "checkbox", "checkbox"] == [attrs["type"] for attrs in inputs]
    (chart,) = [attrs for _, attrs in reader.tags if attrs.get("id") == "chart"]
    assert "0" == chart["tabindex"]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([FIX], "vllm==0.33.0 is as expected: independent of the pools"),
        ([FIX, FIX], "All 2 subjects are as expected"),
        ([BUG, BUG, FIX], "2 of 3 subjects are not as expected: vllm==0.21.0, vllm==0.21.0"),
        ([UNKNOWN, UNKNOWN], "2 of 2 subjects cannot be judged: x.py:f, x.py:f"),
        ([BUG, UNKNOWN], "vllm==0.21.0 fails: peak grows with swa_num_blocks"),
        (
            [replace(FIX, expected=Verdict.FAIL)],
            "vllm==0.33.0 passes, and is known to fail: independent of the pools",
        ),
        (
            [BUG] * 6,
            f"6 of 6 subjects are not as expected: {', '.join(['vllm==0.21.0'] * 4)} and 2 more",
        ),
        ([], "Nothing was judged"),
    ],
)
def test_the_verdict_in_a_sentence(results, expected):
    assert expected == verdict_sentence(results)
