"""The browser that tests look at pages with: what it tells of a page that does what none should."""

from __future__ import annotations

import pytest

from fixtures.browser import NAMES, chromium

DRAWN = """<!doctype html><meta charset="utf-8"><title>a page</title>
<div id="chart"><div class="scatterlayer"><div class="trace">1</div></div></div>
"""
PLANTED = {
    "prints": ("<script>console.log('printed')</script>", "printed"),
    "raises": ("<script>undefined.at_all</script>", "undefined"),
    "loads": ("<img src='missing.png'>", "ERR_FILE_NOT_FOUND"),
}


@pytest.fixture
def page(tmp_path, browse):
    """`page(more="")`: a drawn page that ends with this HTML."""

    def page(more=""):
        path = tmp_path / "page.html"
        path.write_text(DRAWN + more, encoding="utf-8")
        opened = browse(path)
        opened.wait_for("document.readyState === 'complete'")
        return opened, path

    return page


@pytest.mark.parametrize(("more", "expected"), PLANTED.values(), ids=PLANTED)
def test_what_a_page_complains_of_is_on_its_console(page, more, expected):
    opened, _ = page(more)
    (complaint,) = opened.console()
    assert expected in complaint


def test_a_page_that_asks_for_another_file_is_seen(page):
    opened, path = page(PLANTED["loads"][0])
    asked = [path.as_uri(), (path.parent / "missing.png").as_uri()]
    assert asked == opened.requests()


def test_nothing_is_said_of_a_page_that_does_nothing(page):
    opened, path = page()
    assert [] == opened.console()
    assert [path.as_uri()] == opened.requests()


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_without_a_browser_the_test_is_skipped_and_in_ci_it_fails(
    monkeypatch, tmp_path, ci, outcome
):
    """Either says which programs were looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=f"needs a browser: {NAMES[0]} or "):
        chromium()


def test_a_browser_on_the_path_is_found(monkeypatch, tmp_path):
    program = tmp_path / NAMES[-1]
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(program) == chromium()
