"""What was found is found again for the same question, the same code and the same machine alone."""

from __future__ import annotations

import pytest

from oom_suite.pipeline.commits import kept as module
from oom_suite.pipeline.commits.kept import Kept, Question, content_of_folder, decides
from oom_suite.pipeline.commits.predicate import judged_as
from oom_suite.pipeline.settings import Settings
from oom_suite.records import Verdict
from oom_suite.records.commits import Finding, Judged, Place

PLACE = Place("a.py", 7, "gather", "pool", 1024.0)


def judged(verdict=Verdict.FAIL, *, is_baseline=False):
    known = ("f", "decode", verdict, "grows", "8*pool", 32, (PLACE,))
    return Judged((Finding(*known, is_baseline=is_baseline, judged_as="decode"),))


QUESTION = Question(("axis=pool", "workload=decode"))


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "judged")


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.FAIL])
def test_answer_is_found_as_it_was_kept(kept, verdict):
    kept.keep(QUESTION, "content", judged(verdict))
    assert judged(verdict) == kept.find(QUESTION, "content")


def test_what_could_not_be_judged_is_not_kept(kept, tmp_path):
    """A package may be there next time, or more time."""
    kept.keep(QUESTION, "content", judged(Verdict.INCONCLUSIVE))
    kept.keep(QUESTION, "content", Judged(problem="it does not import"))
    assert kept.find(QUESTION, "content") is None
    assert not (tmp_path / "judged").exists()


def test_other_question_code_package_or_variable_finds_nothing(kept, monkeypatch):
    kept.keep(QUESTION, "content", judged())
    held_to = Question(QUESTION.words, judged(is_baseline=True))
    assert kept.find(Question(("axis=tokens",)), "content") is None
    assert kept.find(held_to, "content") is None
    assert kept.find(QUESTION, "other content") is None
    with monkeypatch.context() as patch:
        patch.setattr(module, "_installed", lambda: (["torch 0.1"], []))
        assert kept.find(QUESTION, "content") is None
    for name in ("VLLM_USE_ANOTHER_PATH", "OOM_SUITE_TARGET"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "cpu")
            assert kept.find(QUESTION, "content") is None
    monkeypatch.setenv("COLUMNS", "77")
    assert judged() == kept.find(QUESTION, "content")


def test_good_end_that_nothing_is_held_to_is_no_part_of_the_question(kept):
    """An answer by the contract is the same whichever end the search has."""
    kept.keep(QUESTION, "content", judged())
    assert judged() == kept.find(Question(QUESTION.words, judged(Verdict.PASS)), "content")


def test_code_without_a_digest_is_neither_kept_nor_found(kept, tmp_path):
    kept.keep(QUESTION, "", judged())
    assert (None, False) == (kept.find(QUESTION, ""), (tmp_path / "judged").exists())
    Kept(None).keep(QUESTION, "content", judged())
    assert Kept(None).find(QUESTION, "content") is None


def test_half_a_file_and_one_of_another_version_are_no_answer(kept, tmp_path):
    kept.keep(QUESTION, "content", judged())
    (file,) = (tmp_path / "judged").iterdir()
    whole = file.read_text()
    for text in (whole[: len(whole) // 2], "{}", whole.replace("FAIL", "BAD"), "[]"):
        file.write_text(text)
        assert kept.find(QUESTION, "content") is None


def test_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    Kept(tmp_path / "file" / "judged").keep(QUESTION, "content", judged())


def test_pages_and_pictures_decide_no_law():
    assert ["a.py", "a.json", "a"] == [
        name for name in ("a.py", "README.md", "a.json", "a.PNG", "a") if decides(name)
    ]


def test_digest_of_a_folder_is_of_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    first = content_of_folder(tmp_path)
    (tmp_path / "a" / "x.py").write_text("1")
    second = content_of_folder(tmp_path)
    (tmp_path / "a" / "x.py").rename(tmp_path / "a" / "y.py")
    third = content_of_folder(tmp_path)
    (tmp_path / "a" / "y.py").write_text("2")
    assert 4 == len({first, second, third, content_of_folder(tmp_path)})
    assert "" == content_of_folder(None)


def test_exact_configuration_is_one_line():
    """The workload, the target, the sizes, and what bad is."""
    settings = Settings("small", {"num_tokens": 4}, target="cuda:sm_90")
    assert "decode for cuda:sm_90, small: num_tokens=4; bad is growth in x" == judged_as(
        settings, "growth in x"
    )
    assert judged_as(settings).endswith(
        "; bad is dependence on swa_num_blocks and extra_num_blocks or more than its bound"
    )
