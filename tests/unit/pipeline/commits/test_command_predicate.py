"""A command of the suite as a question: good, bad and neither by its exit code."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.commits import command
from oom_suite.pipeline.commits.command import CommandPredicate
from oom_suite.pipeline.settings import silent
from oom_suite.records import Verdict

TEXT = "oom-suite check {} --set 'num_tokens=4'"


@pytest.fixture
def ended(monkeypatch):
    """`ended(code, said)`: what is judged of a command that ends so; and the command."""

    def judge(code, said=""):
        asked = []

        def run(words, env, log):
            asked.extend(words[3:])
            log.write_text(said)
            return code

        monkeypatch.setattr(command, "run_command", run)
        return CommandPredicate.of(TEXT, "vllm==0.21.0").judge(None, silent), asked

    return judge


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        *((0, Verdict.PASS), (1, Verdict.FAIL), (2, Verdict.INCONCLUSIVE)),
        *((3, Verdict.INCONCLUSIVE), (-9, Verdict.INCONCLUSIVE), (None, Verdict.INCONCLUSIVE)),
    ],
)
def test_only_a_broken_promise_is_bad(ended, code, verdict):
    """Bad usage, what cannot be judged and a command that is killed are neither."""
    judged, asked = ended(code, "the end")
    assert (verdict, ["check", "vllm==0.21.0", "--set", "num_tokens=4"]) == (judged.verdict, asked)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("table\n\nFAIL  f: it grows\n  law 8*a\n1 failed\n", "f: it grows"),
        ("checked f: PASS\n1 passed\n\n", "1 passed"),
        ("x NOT COVERED 1\n\nNOT COVERED  x\n  why      9 over\n1 not covered\n", "9 over"),
        ("checked f: PASS\n", "nothing was printed"),
    ],
)
def test_reason_is_the_line_that_says_most(ended, said, expected):
    judged, _ = ended(1, said)
    assert expected == judged.reason
    assert f"{TEXT}; bad is exit code 1" == judged.findings[0].judged_as


def test_question_is_the_same_for_every_release():
    """So that what one is made of decides whether it is asked again."""
    keys = {CommandPredicate.of(TEXT, release).key for release in ("vllm==1", "vllm==2")}
    assert {("by", TEXT)} == keys


@pytest.mark.parametrize("text", ["check", "check '{}", "check vllm=={}"])
def test_command_without_a_release_is_refused(text):
    with pytest.raises(UsageError, match=r"^--by "):
        CommandPredicate.of(text, "vllm==1")


def test_command_is_really_run():
    """It ends with bad usage, which is no verdict, and its one line is the reason."""
    judged = CommandPredicate.of("compare {} none.json", "nowhere.json").judge(None, silent)
    assert "exit code 2: oom-suite: cannot read results from 'nowhere.json'" in judged.problem
