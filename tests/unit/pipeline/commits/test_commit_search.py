"""The search over commits, with a predicate that reads a word: no law is found here."""

from __future__ import annotations

import pytest

from fixtures.commits import git, repository_of
from fixtures.made_predicates import ByWord, states
from oom_suite.errors import UsageError
from oom_suite.pipeline.commits.kept import Kept
from oom_suite.pipeline.commits.repository import Repository
from oom_suite.pipeline.commits.search import search_commits
from oom_suite.pipeline.settings import silent


def found_in(folder, good, bad):
    steps = []
    found = search_commits(Repository.at(folder), good, bad, ByWord(), silent, steps.append)
    assert tuple(steps) == found.steps
    return found


def named(step):
    return step.title.partition(" ")[2]


@pytest.mark.parametrize("first_bad", [2, 3, 8, 15, 16])
def test_first_bad_commit_is_found_wherever_it_stands(tmp_path, first_bad):
    """Among sixteen commits, in four steps beside the two ends at most."""
    words = ["good"] * (first_bad - 1) + ["bad"] * (17 - first_bad)
    repository = repository_of(tmp_path / "r", states(*words))
    found = found_in(repository, "HEAD~15", "HEAD")
    assert (f"commit {first_bad}", f"commit {first_bad - 1}") == (
        named(found.first),
        named(found.before),
    )
    assert ((), False) == (found.unjudged, found.is_repair)
    assert len(found.steps) <= 2 + 4


def test_repair_is_found_where_the_bad_end_is_the_older(tmp_path):
    """The first good commit is searched for then."""
    repository = repository_of(tmp_path / "r", states("bad", "bad", "bad", "good", "good"))
    found = found_in(repository, "HEAD", "HEAD~4")
    assert ("commit 4", "commit 3") == (named(found.first), named(found.before))
    assert found.is_repair


def test_commits_that_cannot_be_judged_are_passed_over(tmp_path):
    """Those that are not beside the change leave no doubt."""
    words = ["good", "good", "broken", "good", "bad", "broken", "broken", "bad"]
    found = found_in(repository_of(tmp_path / "r", states(*words)), "HEAD~7", "HEAD")
    assert ("commit 5", ()) == (named(found.first), found.unjudged)


def test_commits_that_may_be_the_first_one_instead_are_named(tmp_path):
    """Those between the last good and the first bad one, the oldest first."""
    words = ["good", "good", "broken", "broken", "bad", "bad"]
    found = found_in(repository_of(tmp_path / "r", states(*words)), "HEAD~5", "HEAD")
    assert ("commit 5", "commit 2") == (named(found.first), named(found.before))
    assert ["commit 3", "commit 4"] == [named(step) for step in found.unjudged]


def test_branch_that_was_merged_is_searched(tmp_path):
    """The commit on a side branch is found, and not the merge that brought it."""
    repository = repository_of(tmp_path / "r", states("good", "good"))
    git(repository, "checkout", "-q", "-b", "side")
    for number, word in enumerate(("good", "bad", "bad"), 10):
        (repository / "state.txt").write_text(f"{word} {number}\n")
        git(repository, "commit", "-q", "-a", "-m", f"side {number}")
    git(repository, "checkout", "-q", "main")
    (repository / "other.txt").write_text("x")
    git(repository, "add", "other.txt")
    git(repository, "commit", "-q", "-m", "other")
    git(repository, "merge", "-q", "--no-edit", "side")
    found = found_in(repository, "HEAD~2", "HEAD")
    assert ("side 11", "side 10") == (named(found.first), named(found.before))


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("HEAD~1", "HEAD", "the good end, .* is FAIL and not PASS: it is bad"),
        ("HEAD~4", "HEAD~3", "the bad end, .* is PASS and not FAIL: it is good"),
        ("HEAD~2", "HEAD", "the good end, .* is INCONCLUSIVE and not PASS: it says broken"),
        ("HEAD", "HEAD", "the same commit"),
        ("nope", "HEAD", "--good 'nope' is no commit"),
        ("HEAD~4", "--all", "--bad '--all' is no commit"),
        ("HEAD~3", "aside", "neither behind the other"),
    ],
    ids=["good-is-bad", "bad-is-good", "good-is-broken", "same", "no-commit", "option", "branches"],
)
def test_ends_that_are_not_as_claimed_are_refused(tmp_path, good, bad, said):
    """Before anything is searched, with the reason in one line."""
    repository = repository_of(tmp_path / "r", states("good", "good", "broken", "bad", "bad"))
    git(repository, "branch", "aside", "HEAD~4")
    git(repository, "checkout", "-q", "aside")
    git(repository, "commit", "-q", "--allow-empty", "-m", "aside")
    git(repository, "checkout", "-q", "main")
    with pytest.raises(UsageError, match=said):
        found_in(repository, good, bad)


def test_user_s_working_tree_is_left_alone(tmp_path):
    """Uncommitted changes stay, and are no part of any commit."""
    repository = repository_of(tmp_path / "r", states("good", "good", "bad"))
    (repository / "state.txt").write_text("good, I say\n")
    before = git(repository, "status", "--porcelain"), (repository / ".git/HEAD").read_text()
    assert "commit 3" == named(found_in(repository, "HEAD~2", "HEAD").first)
    assert before == (
        git(repository, "status", "--porcelain"),
        (repository / ".git/HEAD").read_text(),
    )


def test_five_hundred_commits_take_twelve_probes_with_both_ends(tmp_path):
    """Though some cannot be judged, in the middle too, and a bug came and went before.

    The commit that is found is bad, and the one before it good: one of the two true changes.
    """
    words = ["good"] * 500
    words[60:71] = ["bad"] * 11
    words[240:256] = ["broken"] * 16
    words[311:] = ["bad"] * 189
    words[320:324] = ["broken"] * 4
    repository = repository_of(tmp_path / "r", states(*words))
    found = found_in(repository, "HEAD~499", "HEAD")
    assert ("commit 312", "commit 311") == (named(found.first), named(found.before))
    assert ((), True) == (found.unjudged, any("broken" in s.judged.reason for s in found.steps))
    assert len(found.steps) <= 12


@pytest.mark.parametrize("first_bad", [2, 200, 500])
def test_five_hundred_commits_take_twelve_probes_wherever_the_change_is(tmp_path, first_bad):
    """A stretch in the middle that cannot be judged costs one more than without."""
    words = ["good"] * (first_bad - 1) + ["bad"] * (501 - first_bad)
    words[245:255] = ["broken"] * 10
    repository = repository_of(tmp_path / "r", states(*words))
    found = found_in(repository, "HEAD~499", "HEAD")
    assert (f"commit {first_bad}", f"commit {first_bad - 1}") == (
        named(found.first),
        named(found.before),
    )
    assert len(found.steps) <= 13


def test_interrupted_search_goes_on_and_documentation_is_no_new_content(tmp_path):
    """What was judged is known, also of a commit that differs in a page alone."""
    words = ["good"] * 9 + ["bad"] * 7
    files = [{"state.txt": word, "README.md": f"page {n}"} for n, word in enumerate(words)]
    repository = Repository.at(repository_of(tmp_path / "r", files))
    kept, predicate = Kept(tmp_path / "judged"), ByWord()

    def search(on_step):
        return search_commits(repository, "HEAD~15", "HEAD", predicate, silent, on_step, kept)

    def interrupted(step):
        if not step.end:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(interrupted)
    assert 2 == len(predicate.asked)
    found = search(lambda _: None)
    assert ("commit 10", "commit 9") == (named(found.first), named(found.before))
    assert all(step.is_kept for step in found.steps)
    assert ["good", "bad", "bad"] == predicate.asked
