"""The page as a file: whole or not at all, and one clear line without the extra."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from oom_suite.errors import UsageError
from oom_suite.records import Result, Verdict
from oom_suite.report.html import page, render_check_page, write_check_page

FIX = Result("streaming", "decode", "shadow", "small", {"num_blocks": 1}, Verdict.PASS, "ok")


@pytest.fixture
def small_plotly(monkeypatch):
    """Five megabytes less in each page."""
    pytest.importorskip("jinja2", reason="pages need the extra `report`: pip install .[report]")
    monkeypatch.setattr(page, "plotly_js", lambda: "/* plotly.js */")


def test_control_and_direction_characters_are_not_passed_on(small_plotly):
    text = render_check_page([replace(FIX, subject="a\u202eb\x1b[31mc\x00", reason="\u2028")])
    assert not set(text) & set("\u202e\x1b\x00\u2028")


@pytest.mark.parametrize("missing", ["plotly", "jinja2"])
def test_without_the_extra_one_line_says_what_to_install(monkeypatch, tmp_path, missing):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=r"pip install oom-suite\[report\]$") as caught:
        write_check_page([FIX], tmp_path / "page.html")
    assert missing in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [] == list(tmp_path.iterdir())


def test_the_file_is_written_whole_or_not_at_all(tmp_path, small_plotly):
    write_check_page([FIX], tmp_path / "page.html")
    assert ["page.html"] == [path.name for path in tmp_path.iterdir()]
    with pytest.raises(UsageError, match=r"cannot write .*it is a folder"):
        write_check_page([FIX], tmp_path)
    with pytest.raises(UsageError, match=r"cannot write .*No such file"):
        write_check_page([FIX], tmp_path / "none" / "page.html")
