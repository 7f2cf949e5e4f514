"""The option ``--oom-subject``."""

from __future__ import annotations

import pytest


def test_without_it_the_built_ins_are_the_subjects(oom_seen):
    """The suite's own decode paths."""
    expected = ["full_dequant", "block_compaction", "token_gather", "streaming"]
    assert expected == oom_seen()["subjects"]


@pytest.mark.parametrize("xdist", [(), ("-n1",)], ids=["plain", "xdist"])
def test_it_is_repeatable_and_takes_commas(oom_seen, xdist):
    """Each subject once, in the order given; workers see the same."""
    arguments = ("--oom-subject", "vllm==0.21.0, streaming", "--oom-subject=a.py:f,streaming")
    seen = oom_seen(*arguments, *xdist)
    assert ["vllm==0.21.0", "streaming", "a.py:f"] == seen["subjects"]


def test_the_ini_file_names_subjects_too(oom_seen):
    """One a line."""
    ini = "oom_subject =\n    vllm==0.33.0\n    streaming\n"
    assert ["vllm==0.33.0", "streaming"] == oom_seen(ini=ini)["subjects"]


def test_the_command_line_wins_over_the_ini_file(oom_seen):
    """What the ini file names is not added to it."""
    seen = oom_seen("--oom-subject=streaming", ini="oom_subject = vllm==0.33.0")
    assert ["streaming"] == seen["subjects"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vllm=0.21.0", "--oom-subject: subject 'vllm=0.21.0' names no single release"),
        ("a.py", "--oom-subject: subject 'a.py' names no function: write a.py:FUNCTION"),
        ("streeming", "--oom-subject: unknown subject 'streeming'"),
        (",", "--oom-subject: names no subject"),
    ],
)
def test_a_spelling_that_cannot_be_read_stops_the_run_before_collection(
    oom_refusal, text, expected
):
    """One line, with the option and the value."""
    assert oom_refusal("--oom-subject", text).startswith(expected)


def test_a_bad_spelling_in_the_ini_file_is_traced_to_it(oom_refusal):
    """The line names the ini file's own name for the option."""
    line = oom_refusal(ini="oom_subject = streeming")
    assert line.startswith("oom_subject in the ini file: unknown subject 'streeming'")


def test_the_header_says_what_would_be_judged(pytester, oom_run):
    """Subjects, scenario, lanes and budget, in one line."""
    pytester.makepyfile("def test_nothing(): pass")
    arguments = ("--oom-subject=streaming", "--oom-budget=12.74GiB", "--oom-device=cpu")
    done = oom_run(*arguments)
    done.stdout.fnmatch_lines(
        "oom_suite: subjects streaming; scenario issue-41962; lanes shadow, measure on cpu; "
        "budget 12.74GiB"
    )
