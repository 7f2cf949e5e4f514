"""The parts of a diff that hold the guilty lines."""

from __future__ import annotations

import pytest

from fixtures.commits import repository_of
from oom_suite.pipeline.commits.guilty import MAX_LINES, diff_of_guilty
from oom_suite.pipeline.commits.repository import Repository
from oom_suite.records import Verdict
from oom_suite.records.commits import Finding, Judged, Place

LINES = [f"line {number}\n" for number in range(1, 41)]


def changed(*numbers):
    return "".join(f"new {n}\n" if n in numbers else line for n, line in enumerate(LINES, 1))


def guilty(*lines, file="a.py"):
    places = tuple(Place(file, line, "f", "pool", 1.0) for line in lines)
    return Judged((Finding("it", "", Verdict.FAIL, "", blame=places),))


@pytest.fixture
def diff_between(tmp_path):
    """`diff_between(before, after, guilty)`: of a repository with these two texts of a.py."""

    def diff(before, after, found, *, is_after=True):
        folder = repository_of(tmp_path / "r", [{"a.py": before}, {"a.py": after}])
        repository = Repository.at(folder)
        return diff_of_guilty(repository, "HEAD~1", "HEAD", found, is_after=is_after)

    return diff


def test_only_the_part_around_a_guilty_line_is_shown(diff_between):
    """The others are git's to show."""
    shown = diff_between(changed(), changed(5, 30), guilty(30))
    assert ["--- a/a.py", "+++ b/a.py"] == list(shown[:2])
    assert "+new 30" in shown
    assert "+new 5" not in shown


def test_all_parts_are_shown_where_none_holds_a_guilty_line(diff_between):
    """The line is as it was: something else of the file made it grow."""
    shown = diff_between(changed(), changed(5, 30), guilty(18))
    assert {"+new 5", "+new 30"} <= set(shown)


def test_line_of_the_older_commit_is_looked_for_there(diff_between):
    """As of a repair, whose guilty line is gone afterwards."""
    text = "".join(LINES[:9] + LINES[10:])
    shown = diff_between(changed(), text, guilty(10), is_after=False)
    assert "-line 10" in shown


def test_file_that_is_no_part_of_the_commits_has_no_diff(diff_between):
    """Such as one of a library."""
    assert () == diff_between(changed(), changed(5), guilty(5, file="/usr/lib/b.py"))


def test_long_diff_is_cut_with_the_command_that_shows_it(diff_between):
    """A reader is shown forty lines."""
    shown = diff_between(changed(), changed(*range(1, 41)), guilty(5))
    assert MAX_LINES + 1 == len(shown)
    assert shown[-1].startswith("and ")
    assert shown[-1].endswith("more: git diff HEAD~1 HEAD")
