"""`law --html`, from the command line into a real browser, offline."""

from __future__ import annotations

import functools

import pytest

# From 1,023 MiB on, the pool keeps all of its segment of 1 GiB, and nothing else fits beside it.

# One worker starts a browser.
pytestmark = pytest.mark.xdist_group("browser")


WHOLE_SEGMENT = 1023 * 1024

SOURCE = """\
import torch


def decode(q, swa_k_cache, swa_indices, **step):
    pool = torch.empty(swa_k_cache.shape[0], 1024, dtype=torch.uint8, device=q.device)
    rows = torch.empty(*swa_indices.shape, 512, dtype=torch.uint8, device=q.device)
    step["output"].zero_()
    return pool, rows
"""


@pytest.fixture
def law(tmp_path, suite):
    """`law()`: the command that writes `page.html`, in a folder with `s.py`."""
    (tmp_path / "s.py").write_text(SOURCE, encoding="utf-8")
    return functools.partial(suite, "law", "s.py:decode", "--budget=1GiB", "--html=page.html")


def test_law_writes_a_page_that_a_browser_draws_without_a_network(law, tmp_path, browse):
    """The curve, the terms with their lines, the values and what fits; no error, no request."""
    pytest.importorskip("plotly", reason="pages need the extra `report`: pip install .[report]")
    done = law()
    assert 0 == done.returncode, done.stderr
    path = tmp_path / "page.html"
    browser = browse(path, is_phone=True)
    text = browser.run("return document.body.innerText")
    for said in (
        "The law of s.py:decode",
        "1024*swa_num_blocks + 512*num_tokens*swa_topk",
        "1,024 bytes per swa_num_blocks: s.py:5 (decode)",
        "320.00 KiB (327,680 bytes)",
        f"1GiB takes at most {WHOLE_SEGMENT - 1:,} swa_num_blocks",
    ):
        assert said in text
    assert 1 == browser.run("return document.querySelectorAll('#chart path.js-line').length")
    assert [390, 390] == browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert [] == browser.console()
    assert [path.as_uri()] == browser.requests()


@pytest.mark.usefixtures("without_plotly")
def test_without_the_extra_one_line_says_what_to_install(law, tmp_path):
    """Before anything is run."""
    done = law()
    assert (2, "") == (done.returncode, done.stdout)
    (last,) = done.stderr.splitlines()
    assert last.startswith("oom-suite: --html: an HTML page needs plotly")
    assert last.endswith("pip install oom-suite[report]")
    assert not (tmp_path / "page.html").exists()
