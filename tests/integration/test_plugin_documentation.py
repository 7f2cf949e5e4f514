"""The example of `docs/pytest.md`, followed in a repository of one's own."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "pytest.md"
MEMORY_LAW = DOCS / "memory_law.md"
COVERS = DOCS / "covers.md"


def test_the_example_fails_with_the_text_that_the_page_shows(pytester, oom_run):
    """To the letter, and without a traceback."""
    text = PAGE.read_text("utf-8")
    for body in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        name = body.split(maxsplit=2)[1]
        (pytester.path / name).write_text(body, encoding="utf-8")
    done = oom_run("test_my_decode.py", "--oom-budget", "12.74GiB")
    done.assert_outcomes(failed=1)
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    done.stdout.fnmatch_lines(shown.replace("[", "[[]").splitlines(), consecutive=True)
    assert "Traceback" not in str(done.stdout)


def test_the_gather_of_the_page_on_memory_laws_fails_with_the_text_that_it_shows(pytester, oom_run):
    """To the letter: the first of its two tests passes, the second is shown whole."""
    text = MEMORY_LAW.read_text("utf-8")
    source = re.search(r"```python\n(# test_my_gather.py\n.*?)```", text, re.DOTALL)[1]
    (pytester.path / "test_my_gather.py").write_text(source, encoding="utf-8")
    done = oom_run("test_my_gather.py")
    done.assert_outcomes(passed=1, failed=1)
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert shown in f"{done.stdout}\n"


def test_the_step_of_the_page_on_profile_runs_fails_with_the_reason_that_it_shows(
    pytester, oom_run
):
    """What the profile run covers passes; one key more is over by the bytes that are named."""
    text = COVERS.read_text("utf-8")
    source = re.search(r"```python\n(# test_my_step.py\n.*?)```", text, re.DOTALL)[1]
    (pytester.path / "test_my_step.py").write_text(source, encoding="utf-8")
    done = oom_run("test_my_step.py")
    done.assert_outcomes(passed=1, failed=1)
    shown = re.search(r'the second fails: "(.*?)"', text)[1]
    assert f"why      {shown}\n" in f"{done.stdout}\n"


def test_every_option_is_on_the_page():
    """And every option on the page is one."""
    from oom_suite.pytest_plugin.options import SPELLINGS

    named = re.findall(r"^\| `(--oom-[a-z-]+)", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [option.flag for option in SPELLINGS] == named
