"""A probe checks itself at the ends of the search that it belongs to."""

from __future__ import annotations

import re

import pytest

from fixtures.commits import git, repository_of
from fixtures.made_predicates import ByWord, states
from oom_suite.errors import UsageError
from oom_suite.pipeline.commits.probe import is_bisecting, probe
from oom_suite.pipeline.settings import silent


@pytest.fixture
def bisecting(tmp_path, monkeypatch):
    """`bisecting(word, ...)`: in a repository whose `git bisect` has begun, at its middle."""

    def begun(*words, terms=()):
        repository = repository_of(tmp_path / "r", states(*words))
        git(repository, "bisect", "start", *terms, "HEAD", f"HEAD~{len(words) - 1}")
        monkeypatch.chdir(repository)
        return repository

    return begun


@pytest.mark.parametrize(("middle", "code"), [("good", 0), ("bad", 1), ("broken", 125)], ids=str)
def test_verdict_is_the_exit_code_that_git_wants(bisecting, middle, code):
    """Between ends that are as git was told."""
    bisecting("good", middle, "bad")
    answer = probe(ByWord(), "good", "", silent)
    assert (code, "") == (answer.code, answer.refusal)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bad", "bad", "bad"), "the good end, .* is FAIL and not PASS: it is bad"),
        (("good", "good", "good"), "the bad end, .* is PASS and not FAIL: it is good"),
        (("broken", "broken", "bad"), "neither this commit nor the good end, .* it says broken"),
    ],
    ids=["bad-everywhere", "good-everywhere", "broken-everywhere"],
)
def test_question_without_its_answers_at_the_ends_stops_the_search(bisecting, words, said):
    """git ends with 128, and no commit is blamed."""
    bisecting(*words)
    answer = probe(ByWord(), "good", "", silent)
    assert 128 == answer.code
    assert re.search(said, answer.refusal), answer.refusal


def test_end_that_cannot_be_judged_elsewhere_does_not_stop_what_can_be_judged_here(bisecting):
    """Code that must be built in place is judged in place, as git has it."""
    bisecting("broken", "bad", "bad")
    assert 1 == probe(ByWord(), "good", "", silent).code


def test_end_that_was_named_to_be_checked_has_to_be_judged(bisecting):
    """With --good the same search is stopped."""
    bisecting("broken", "bad", "bad")
    answer = probe(ByWord(), "good", "HEAD~1", silent)
    assert 128 == answer.code
    assert "is INCONCLUSIVE and not PASS" in answer.refusal


def test_ends_are_judged_once_for_all_steps(bisecting):
    """Another question, or another good end, is judged anew."""
    bisecting("good", "good", "bad")
    first, second, third = ByWord(), ByWord(), ByWord()
    third.key = ("another",)
    for predicate in (first, second, third):
        assert 0 == probe(predicate, "good", "", silent).code
    assert [3, 1, 3] == [len(each.asked) for each in (first, second, third)]


def test_half_a_file_of_ends_is_no_answer(bisecting):
    """They are judged anew where what was kept cannot be read."""
    repository = bisecting("good", "good", "bad")
    probe(ByWord(), "good", "", silent)
    for kept in (repository / ".git/oom-suite/judged").iterdir():
        kept.write_text(kept.read_text()[:-20])
    again = ByWord()
    assert 0 == probe(again, "good", "", silent).code
    assert 3 == len(again.asked)


def test_file_that_git_does_not_know_is_part_of_the_question(bisecting):
    """A test that was changed since the ends were judged asks something else."""
    repository = bisecting("good", "good", "bad")
    (repository / "mine.txt").write_text("good")
    assert 128 == probe(ByWord("mine.txt"), "good", "", silent).code
    (repository / "mine.txt").write_text("bad")
    assert "the good end" in probe(ByWord("mine.txt"), "good", "", silent).refusal


def test_search_for_a_repair_turns_answers_and_ends_round(bisecting):
    """--expect bad: the older end is the bad one, and a good commit exits with 1."""
    bisecting("bad", "good", "good", terms=("--term-old=broken", "--term-new=repaired"))
    answer = probe(ByWord(), "bad", "", silent)
    assert (1, "") == (answer.code, answer.refusal)
    assert "commit 3" in answer.good.title
    assert 128 == probe(ByWord(), "good", "", silent).code


def test_without_a_search_the_code_is_judged_alone(tmp_path, monkeypatch):
    """Neither git nor a repository is needed."""
    (tmp_path / "state.txt").write_text("bad")
    monkeypatch.chdir(tmp_path)
    answer = probe(ByWord(), "good", "", silent)
    assert (1, None, False) == (answer.code, answer.good, is_bisecting())


@pytest.mark.parametrize(
    ("expect", "good"), [("maybe", ""), ("good", "no-such-commit")], ids=["expect", "good"]
)
def test_words_that_cannot_be_used_are_refused(bisecting, expect, good):
    """In one line, before anything is judged."""
    bisecting("good", "good", "bad")
    with pytest.raises(UsageError, match=expect if expect == "maybe" else good):
        probe(ByWord(), expect, good, silent)
