"""Every command as a process of its own; other files try inside the test's what each does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from oom_suite.cli.main import _with_plugins

SUBJECT = """
import torch


def decode(q, **step):
    torch.empty_like(q)
    step["output"].zero_()
"""
SMALL = ("s.py:decode", "--scenario", "small", "--workload", "decode-swa")
REPLAY = ("issue-41962", "s.py:decode", "--device=cpu", "--set=num_blocks=64")

COMMANDS = {
    "bench": (("--only", "gahter"), 2, "oom-suite: unknown part 'gahter'"),
    "bisect": (("--bad", "vllm@."), 2, "oom-suite: --bad 'vllm@.' is not a release"),
    "check": (SMALL, 0, "subject "),
    "compare": (("a.json", "b.json"), 2, "oom-suite: "),
    "conformance": (("--scaled", "--only", "cumprod"), 0, "suite"),
    "covers": (("s.py:decode",), 2, "oom-suite: subject 's.py:decode' is no release whose"),
    "doctor": ((), 0, "lanes"),
    "history": (("--since", "soon"), 2, "oom-suite: --since 'soon' is no date"),
    "law": (SMALL, 0, "s.py:decode: workload decode-swa, the law around scenario small"),
    "lock": (SMALL, 0, "added    s.py:decode: workload decode-swa"),
    "measure": (("s.py:decode",), 0, "requested "),
    "probe": (SMALL, 0, "PASS s.py:decode: independent of swa_num_blocks"),
    "ranks": (("s.py:decode",), 2, "oom-suite: ranks are started by torchrun"),
    "record": (("missing.json",), 2, "oom-suite: cannot read results from 'missing.json'"),
    "replay": (REPLAY, 0, "Replay of issue-41962 on cpu"),
    "scan": (("s.py:decode", "--every"), 2, "oom-suite: --every means nothing without --since"),
    "sanitize": (("s.py:decode", "--tool", "memchek"), 2, "oom-suite: unknown tool 'memchek'"),
    "selfcheck": (("--only", "precision"), 0, "group "),
}
"""A cheap run of each: its arguments, how it exits, and how its first line begins."""


def test_every_command_is_run_once():
    """None is forgotten here."""
    assert set(COMMANDS) == set(typer.main.get_command(_with_plugins()).commands)


def test_every_command_has_its_exit_codes_in_the_table():
    """One table, in docs/exit_codes.md; `check --safety` has a row of its own."""
    page = (Path(__file__).parents[2] / "docs/exit_codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z]+)(?: --safety)?` \|", page, re.MULTILINE)
    assert sorted([*COMMANDS, "check"]) == sorted(rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_process_of_its_own_ends_as_it_should(tmp_path, name):
    """With its exit code and its first line, and without a traceback."""
    arguments, code, begins = COMMANDS[name]
    (tmp_path / "s.py").write_text(SUBJECT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "oom_suite", name, *arguments],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    first = (done.stdout.strip() or done.stderr.strip()).splitlines()[0]
    assert (code, True) == (done.returncode, first.startswith(begins)), first
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [("--help",), ("check", "--lane", "gpu"), ("check", "--safety", "ful_dequant")],
    ids=" ".join,
)
def test_who_only_asks_does_not_wait_for_torch(tmp_path, words):
    """Neither help nor an error of usage imports it."""
    code = (
        f"import sys\nsys.argv = ['oom-suite', *{words}]\n"
        "from oom_suite.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "False" == done.stdout.splitlines()[-1], done.stderr
