"""`oom-suite scan --shard` and `--merge`: shares of a scan together are the scan."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from oom_suite.cli import scan
from oom_suite.records.scan import Found, ScanRow

PAGE = Path(__file__).parents[2] / "docs" / "scan.md"
SUBJECT = """
def gather(out, k_cache, slot_indices, block_size):
    out.zero_()


def converts(out, k_cache, slot_indices, block_size):
    k_cache.float()
    out.zero_()
"""
SUBJECTS = ("s.py:converts", "s.py:gather")
WORDS = (*SUBJECTS, "--workload", "gather", "--target", "generic,cpu")
RELEASES = ("vllm==0.22.0", "--since", "vllm==0.21.0", "--workload", "decode-swa")
VERSIONS = "a.json' and 'b.json' were made by different versions, "


def without_times(text):
    """A file of a scan, but for what two runs differ in."""
    body = json.loads(text)
    for row in body["scan"]["rows"]:
        del row["elapsed_s"]
    return {**body, "environment": None}


@pytest.fixture
def made_up(monkeypatch):
    """Nothing is run: every unit of 0.21.0 fails, every other one passes."""

    def run_units(units, num_jobs, on_row, on_progress, time_limit_s):
        for unit in units:
            on_row(ScanRow(unit, Found.FAIL if "0.21" in unit.subject else Found.PASS, "so"), "")

    monkeypatch.setattr(scan, "run_units", run_units)


def test_four_shards_merged_are_the_scan_of_one_process(suite, tmp_path):
    """In the table, in JSON but for times, in the page, and in the exit code."""
    (tmp_path / "s.py").write_text(SUBJECT, encoding="utf-8")
    whole = suite("scan", *WORDS, "--json", "whole.json", "--html", "whole.html")
    codes = []
    for number in range(1, 5):
        name = f"{number}.json"
        done = suite("scan", *WORDS, "--shard", f"{number}/4", "--json", name, "--jobs", "1")
        codes.append(done.returncode)
        assert f"shard {number} of 4: 1 of 4 units; oom-suite scan --merge" in done.stdout
    # By key: converts for cpu, for generic, then its healthy twin.
    assert [1, 1, 0, 0] == codes
    shards = ("3.json", "1.json", "4.json", "2.json")
    merged = suite("scan", "--merge", *shards, "--json", "merged.json", "--html", "merged.html")
    assert (1, whole.stdout) == (whole.returncode, merged.stdout)
    assert (1, "") == (merged.returncode, merged.stderr)
    files = [(tmp_path / f"{name}.json").read_text("utf-8") for name in ("whole", "merged")]
    assert without_times(files[0]) == without_times(files[1])
    pages = [(tmp_path / f"{name}.html").read_text("utf-8") for name in ("whole", "merged")]
    assert pages[0] == pages[1]
    newest = max(
        json.loads((tmp_path / name).read_text("utf-8"))["environment"]["made_at"]
        for name in shards
    )
    assert newest == json.loads(files[1])["environment"]["made_at"]


def test_the_page_s_shards_and_their_merge_print_what_it_shows(suite):
    shown = PAGE.read_text(encoding="utf-8").partition("## Over machines")[2]
    shown = shown.partition("```console\n")[2].partition("```")[0]
    printed = ""
    for command in re.findall(r"^\$ oom-suite (.*)$", shown, re.MULTILINE):
        printed += f"$ oom-suite {command}\n{suite(*shlex.split(command)).stdout}"
    assert shown == printed


def test_releases_in_two_shards_are_compared_when_they_are_merged(suite, tmp_path, made_up):
    """A share says nothing of what changed; the newer release alone decides the exit code."""
    shown = [
        suite("scan", *RELEASES, "--shard", f"{number}/2", "--json", f"{number}.json")
        for number in (1, 2)
    ]
    assert [0, 0] == [done.returncode for done in shown]
    assert not [done for done in shown if "what changed" in done.stdout]
    merged = suite("scan", "--merge", "1.json", "2.json")
    assert (0, suite("scan", *RELEASES).stdout) == (merged.returncode, merged.stdout)
    assert "now keeps its promise\n" in merged.stdout


def test_more_shards_than_units_leave_some_with_nothing_to_do(suite, tmp_path, made_up):
    names = [f"{number}.json" for number in range(1, 4)]
    for number, name in enumerate(names, 1):
        suite("scan", *RELEASES, "--shard", f"{number}/3", "--json", name)
    assert [] == json.loads((tmp_path / "3.json").read_text("utf-8"))["scan"]["rows"]
    assert 0 == suite("scan", "--merge", *names).returncode


def changed(**values):
    """The second file with another value somewhere: a path of keys with underscores."""

    def change(body):
        for path, value in values.items():
            *way, last = path.split("__")
            inner = body
            for key in way:
                inner = inner[key]
            inner[last] = value

    return change


@pytest.mark.parametrize(
    ("files", "change", "said"),
    [
        ("a", None, "shard 2 of 2 is missing: run the scan with --shard 2/2 --json FILE"),
        ("aab", None, "'a.json' and 'a.json' are both shard 1 of 2: give each shard once"),
        ("ab", changed(scan__rows=[]), "has 0 of the 1 units of shard 2 of 2, and was interrupt"),
        ("ab", changed(scan__shard__num_shards=3), "one of 2 and one of 3: give those of one"),
        ("ab", changed(scan__shard__compares=False), "only one of them has --since"),
        ("ab", changed(scan__subjects=["x"]), "their subjects are in different orders"),
        ("ab", changed(environment__torch="2.11.0"), f"{VERSIONS}torch .* and torch 2.11.0: run"),
        ("ab", changed(environment__commit="f00"), f"{VERSIONS}commit .* and commit f00: run"),
        ("ab", changed(scan__shard={}), "'b.json' is no shard of a scan: give files of oom-suite"),
        ("ab", changed(scan__shard__number=1), "'b.json' is not as scan wrote it: it has rows"),
        ("abc", None, "cannot read 'c.json': No such file or directory"),
    ],
)
def test_shards_that_are_no_whole_scan_are_one_line(suite, tmp_path, made_up, files, change, said):
    for number, name in enumerate("ab", 1):
        suite("scan", *RELEASES, "--shard", f"{number}/2", "--json", f"{name}.json")
    if change is not None:
        body = json.loads((tmp_path / "b.json").read_text("utf-8"))
        change(body)
        (tmp_path / "b.json").write_text(json.dumps(body), encoding="utf-8")
    done = suite("scan", "--merge", *(f"{name}.json" for name in files))
    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert re.search(said, done.stderr), done.stderr


def test_shards_of_other_units_are_of_another_scan(suite, tmp_path, made_up):
    suite("scan", *RELEASES, "--shard", "1/2", "--json", "a.json")
    suite("scan", *RELEASES, "--target", "cpu", "--shard", "2/2", "--json", "b.json")
    done = suite("scan", "--merge", "a.json", "b.json")
    assert 2 == done.returncode
    assert "are shards of different scans, only one of them has 'vllm==0.21.0 | " in done.stderr
