"""`oom-suite scan --resume`: an interrupted scan goes on, and ends as one that was not."""

from __future__ import annotations

import json
import subprocess

import pytest

from oom_suite.cli import scan
from oom_suite.records.scan import Found, ScanRow

RELEASES = ("vllm==0.22.0", "--since", "vllm==0.21.0", "--workload", "decode-swa")
RESUMED = ("--json", "a.json", "--resume")


@pytest.fixture
def judged(monkeypatch):
    """The subjects that were judged, none of which is run: those of 0.21.0 fail."""
    subjects = []

    def run_units(units, num_jobs, on_row, on_progress, time_limit_s):
        for unit in units:
            subjects.append(unit.subject)
            on_row(ScanRow(unit, Found.FAIL if "0.21" in unit.subject else Found.PASS, "so"), "")

    monkeypatch.setattr(scan, "run_units", run_units)
    return subjects


@pytest.fixture
def edit(tmp_path):
    """`edit(change)`: the file of the scan, as if written otherwise; all but its last row."""

    def edited(change=lambda body: None):
        file = tmp_path / "a.json"
        body = json.loads(file.read_text("utf-8"))
        del body["scan"]["rows"][-1]
        change(body)
        file.write_text(json.dumps({**body, "is_complete": False}), encoding="utf-8")

    return edited


def git(folder, *words):
    named = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", "-C", folder, *named, *words], check=True, capture_output=True)


def of(tmp_path):
    body = json.loads((tmp_path / "a.json").read_text("utf-8"))
    return {**body, "environment": None}


@pytest.mark.parametrize("shard", [(), ("--shard", "1/1")], ids=["a scan", "a shard"])
def test_only_what_is_missing_is_judged(suite, tmp_path, judged, edit, shard):
    """And the table, the file and the exit code are those of a scan at one go."""
    words = (*RELEASES, *shard, *RESUMED)
    whole = suite("scan", *words)
    body = of(tmp_path)
    edit()
    judged.clear()
    done = suite("scan", *words)
    assert (whole.returncode, whole.stdout) == (done.returncode, done.stdout)
    assert body == of(tmp_path)
    assert (["vllm==0.22.0"], "1 of 2 units were judged before") == (
        judged,
        done.stderr.splitlines()[0],
    )


def test_a_whole_scan_has_nothing_to_judge(suite, judged):
    suite("scan", *RELEASES, "--json", "a.json")
    judged.clear()
    assert (0, []) == (suite("scan", *RELEASES, *RESUMED, "--quiet").returncode, judged)


def test_without_resume_all_is_judged(suite, judged, edit):
    suite("scan", *RELEASES, "--json", "a.json")
    edit()
    suite("scan", *RELEASES, "--json", "a.json")
    assert ["vllm==0.21.0", "vllm==0.22.0"] * 2 == judged


def test_what_could_not_be_judged_is_tried_again(suite, judged, edit):
    suite("scan", *RELEASES, "--json", "a.json")
    edit(lambda body: body["scan"]["rows"][0].update(found="INCONCLUSIVE"))
    judged.clear()
    suite("scan", *RELEASES, *RESUMED)
    assert ["vllm==0.21.0", "vllm==0.22.0"] == judged


@pytest.mark.parametrize("changed", ["s.py", "other.py", "", "no git"])
def test_code_of_ones_own_is_judged_again_where_it_may_have_changed(
    suite, tmp_path, judged, changed
):
    """A file that git knows, one that it does not know, nothing, and no repository at all."""
    (tmp_path / "s.py").write_text("def f(): ...\n", encoding="utf-8")
    if changed != "no git":
        git(tmp_path, "init")
        git(tmp_path, "add", "s.py")
        git(tmp_path, "commit", "-m", "a")
        (tmp_path / "s.py").write_text("def f(): ... # changed\n", encoding="utf-8")
    words = ("s.py:f", "streaming", "--workload", "decode-swa", *RESUMED)
    suite("scan", *words)
    judged.clear()
    if changed.endswith(".py"):
        (tmp_path / changed).write_text("def f(): return 1\n", encoding="utf-8")
    said = suite("scan", *words).stderr.splitlines()[: 2 if changed else 1]
    again = ["s.py:f is judged again: nothing tells that its code is the same"] if changed else []
    assert (["s.py:f"] if changed else [], again) == (judged, said[:-1])


def test_rows_of_other_versions_are_refused(suite, tmp_path, judged, edit):
    """In one line, and the file is as it was."""
    suite("scan", *RELEASES, "--json", "a.json")
    edit(lambda body: body["environment"].update(torch="2.11.0"))
    before = (tmp_path / "a.json").read_text("utf-8")
    done = suite("scan", *RELEASES, *RESUMED)
    (line,) = done.stderr.splitlines()
    assert 2 == done.returncode
    assert "--resume: 'a.json' was made by torch 2.11.0, and here is torch " in line
    assert line.endswith(": leave --resume out to judge all anew")
    assert before == (tmp_path / "a.json").read_text("utf-8")


def test_rows_of_another_scan_are_refused(suite, judged):
    """They would be lost."""
    suite("scan", *RELEASES, "--json", "a.json")
    done = suite("scan", "vllm==0.22.0", "--workload", "decode-swa", *RESUMED)
    assert 2 == done.returncode
    assert "'a.json' is of another scan, which has 'vllm==0.21.0 | decode-swa | " in done.stderr
