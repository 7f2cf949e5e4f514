"""What belongs to no command: its version, its help, completion, and readers that go away."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

import pytest

from oom_suite.cli.main import app


def test_it_says_its_version(suite):
    done = suite("--version")
    expected = f"oom-suite {metadata.version('oom-suite')}\n"
    assert (0, expected, "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("words", [(), *((one.name,) for one in app.registered_commands)])
def test_help_has_a_short_name_everywhere(suite, words):
    """For the whole and for each command."""
    short, long = suite(*words, "-h"), suite(*words, "--help")
    assert (0, short.stdout) == (short.returncode, long.stdout)
    assert short.stdout.startswith(f"Usage: {' '.join(('oom-suite', *words))} [OPTIONS]")


def test_a_shell_completes_commands_and_options(suite, monkeypatch):
    """What a shell asks, as its script from ``--show-completion`` does."""
    monkeypatch.setenv("_OOM_SUITE_COMPLETE", "complete_bash")
    for words, expected in (("oom-suite conf", "conformance"), ("oom-suite check --js", "--json")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        assert [expected] == suite().stdout.split()


def test_a_reader_that_goes_away_changes_no_exit_code(tmp_path):
    """As under ``| head``: 1 would say that a promise is broken."""
    names = {"subject": "a", "workload": "b", "scenario": "c", "lane": "shadow", "sizes": {"n": 1}}
    peaks = {f"peak_{kind}_bytes": 1 for kind in ("requested", "allocated", "reserved")}
    body = {"results": [{**names, **peaks, "measurement": None}]}
    (tmp_path / "a.json").write_text(json.dumps(body), encoding="utf-8")
    command = [sys.executable, "-m", "oom_suite", "compare", "a.json", "a.json"]
    kept = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as left:
        left.stdout.close()
        errors = left.stderr.read()
    assert (0, True) == (kept.returncode, kept.stdout != "")
    assert (0, "") == (left.returncode, errors)
