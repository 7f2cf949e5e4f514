"""`oom-suite record` and `oom-suite history`, as a user runs them one after the other."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from fixtures.command import run_here
from fixtures.commits import repository_of
from fixtures.results import checked, write_results
from oom_suite.history.store import VARIABLE
from oom_suite.targets.target import DEFAULT

PAGE = Path(__file__).parents[2] / "docs/history.md"
DECODE = """\
def decode(swa_k_cache, swa_indices, output, **step):
    needed = swa_indices.flatten().long()
    rows = {rows}[needed]
    output.copy_(rows.float().amax())
"""
ROWS = ("swa_k_cache.flatten(0, 1)", "swa_k_cache.float().flatten(0, 1)")


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """The store where none is named."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "stored" / "history.db"))
    return tmp_path / "stored" / "history.db"


def dateless(text):
    return re.sub(r"20\d\d-\d\d-\d\d", "DATE", text)


def test_two_commits_have_the_life_that_the_page_shows(tmp_path, store, monkeypatch):
    """Check, record and history, as docs/history.md has them: the step, its terms and its line."""
    monkeypatch.setenv("OOM_SUITE_TARGET", DEFAULT)
    for number in (1, 2):
        files = [{"my_decode.py": DECODE.format(rows=rows)} for rows in ROWS[:number]]
        tree = repository_of(tmp_path / f"tree{number}", files)
        words = ("my_decode.py:decode", "--workload", "decode-swa", "--scenario", "small")
        done = run_here("check", *words, "--json", "r.json", folder=tree)
        assert number - 1 == done.returncode, done.stderr
        for new in (1, 0):
            done = run_here("record", "r.json", folder=tree)
            assert f"r.json: 1 result, {new} new, in {store}\n" == done.stdout
    done = run_here("history", "my_decode.py:decode", folder=tree)
    shown = PAGE.read_text("utf-8").partition("```console\n$ ")[2].partition("```")[0]
    command, _, output = shown.partition("\n")
    assert "oom-suite history my_decode.py:decode" == command
    assert dateless(output) == dateless(done.stdout)


def test_a_list_of_all_that_is_recorded_needs_no_subject(tmp_path, suite):
    given = [checked(), checked(subject="vllm==0.21.0"), checked(subject="vllm==0.33.0")]
    write_results(tmp_path / "r.json", given)
    suite("record", "r.json", "--quiet")
    done = suite("history")
    what = "workload decode, generic, scenario small"
    assert [
        f"decode.py:decode  {what}  1 result   0 steps  800 B at aaaaaaaaaa",
        f"vllm  {what}              2 results  0 steps  800 B at 0.33.0",
    ] == done.stdout.splitlines()


def test_json_goes_to_a_file_or_to_standard_output(tmp_path, suite):
    write_results(tmp_path / "r.json", [checked(), checked("9*num_blocks", 900)])
    suite("record", "r.json")
    done = suite("history", "decode.py:decode", "--json", "-")
    (life,) = json.loads(done.stdout)["history"]
    assert (2, 1) == (len(life["results"]), len(life["steps"]))
    assert "8*num_blocks" in done.stderr


def test_options_choose_among_results(tmp_path, suite):
    for number, torch in enumerate(("2.11.0", "2.13.0"), 1):
        made = f"2026-11-0{number}T00:00:00+00:00"
        path = tmp_path / f"{number}.json"
        write_results(path, [checked(num_bytes=number)], torch=torch, made_at=made)
    suite("record", "?.json")

    assert 2 == suite("history", "decode.py:decode").stdout.count("PASS")
    assert "1 B" in suite("history", "decode.py:decode", "--torch", "2.11.0").stdout
    for words in (("--since", "2026-11-02"), ("--torch", "2.13.0")):
        done = suite("history", "decode.py:decode", *words)
        assert ("2 B" in done.stdout, "1 B" in done.stdout) == (True, False)
    assert "no step is recorded\n" == suite("history", "--steps", "--torch", "2.13.0").stdout
    assert "grew: 1 B -> 2 B" in suite("history", "--steps").stdout


def test_an_interrupted_command_s_results_are_kept_and_named_so(tmp_path, suite, store):
    path = write_results(tmp_path / "r.json", [checked()])
    path.write_text(path.read_text().replace('"is_complete": true', '"is_complete": false'))
    done = suite("record", "r.json")
    said = f"r.json: 1 result, of a command that did not come to its end, 1 new, in {store}\n"
    assert (0, said) == (done.returncode, done.stdout)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("record", "missing.json"), "cannot read results from 'missing.json': No such file"),
        (("record", "r.json", "empty.json"), "'empty.json' holds no results that can be kept"),
        (("record", "r.json", "--store", "mysql://h/d"), "the store mysql://h/d cannot be used"),
        (("history",), "nothing is recorded in "),
        (("history", "--since", "soon"), "--since 'soon' is no date: write it like 2026-11-28"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_cannot_be_done_is_one_line_and_keeps_nothing(tmp_path, suite, store, words, expected):
    write_results(tmp_path / "r.json", [checked()])
    (tmp_path / "empty.json").write_text("{}")
    done = suite(*words)
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"oom-suite: {expected}")
    assert 1 == done.stderr.count("\n")
    assert not store.exists()


def test_a_subject_that_was_never_recorded_is_refused_with_the_nearest(tmp_path, suite):
    write_results(tmp_path / "r.json", [checked()])
    suite("record", "r.json")
    done = suite("history", "decode.py:decod")
    assert 2 == done.returncode
    assert "unknown subject 'decode.py:decod'" in done.stderr
    assert "did you mean 'decode.py:decode'?" in done.stderr
    done = suite("history", "decode.py:decode", "--torch", "1.0")
    assert (2, True) == (done.returncode, "that is so: leave out an option" in done.stderr)


@pytest.mark.parametrize("package", ["sqlalchemy", "psycopg"])
def test_a_missing_package_is_one_line_that_names_the_extra(tmp_path, suite, monkeypatch, package):
    write_results(tmp_path / "r.json", [checked()])
    for name in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "oom_suite.history.store", raising=False)
    monkeypatch.delitem(sys.modules, "oom_suite.history.schema", raising=False)
    done = suite("record", "r.json", "--store", "postgresql://127.0.0.1:1/d")
    assert 2 == done.returncode
    assert (
        f"oom-suite: a history needs {package}, which is not installed: "
        "pip install oom-suite[history]\n"
    ) == done.stderr
