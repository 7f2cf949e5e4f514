"""The package that `docs/plugins.md` shows, installed as far as an entry point needs it."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from oom_suite import doors

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
TEXT = PAGE.read_text("utf-8")
FAULTS_HOOK = '\n\n@hookimpl\ndef oom_faults():\n    return ["my_kernels.faults"]\n'


def bodies(kind):
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The page's package on the path, and its subject in the test's folder."""
    site = tmp_path / "site"
    for body in bodies("python"):
        name = body.split(maxsplit=2)[1]
        target = (site if name.startswith("my_kernels/") else tmp_path) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(body, encoding="utf-8")
    with (site / "my_kernels" / "oom_plugin.py").open("a", encoding="utf-8") as plugin:
        plugin.write(FAULTS_HOOK)
    info = site / "my_kernels-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_kernels\nVersion: 1.0\n")
    (entry_points,) = bodies("toml")
    (info / "entry_points.txt").write_text(
        entry_points.replace("project.entry-points.", "").replace('"', "")
    )
    monkeypatch.syspath_prepend(str(site))
    forget()
    yield
    forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_kernels"]:
        del sys.modules[name]


def forget():
    doors.plugins.cache_clear()
    doors._by_name.cache_clear()


def test_the_command_of_the_page_writes_the_report_that_it_shows(installed, suite, tmp_path):
    """The workload is found by the subject's parameters, and both verdicts are as shown."""
    (command,) = bodies("console")
    done = suite(*shlex.split(command.removeprefix("$ "))[1:])
    assert 1 == done.returncode, done.stderr
    (shown,) = bodies("text")
    assert shown == (tmp_path / "lines.txt").read_text("utf-8")


def test_the_faults_of_the_page_are_tried_by_the_selfcheck(installed, suite, tmp_path):
    """The mutant is caught by the name of its function."""
    done = suite("selfcheck", "--only", "faults", "--json", "out.json")
    assert 0 == done.returncode, done.stdout + done.stderr
    trials = json.loads((tmp_path / "out.json").read_text("utf-8"))["selfcheck"]["seen"]
    seen = [(one["name"], one["verdict"], one["named"]) for one in trials]
    assert [("faults:converts_the_cache", "FAIL", ["converts_the_cache"])] == seen


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("lines", "--report 'lines' is not NAME=FILE; write it like lines=FILE"),
        ("line=out.txt", "unknown reporter 'line'"),
        ("lines=no/such/folder.txt", "--report lines: cannot write 'no/such/folder.txt'"),
    ],
)
def test_a_report_that_cannot_be_written_is_one_line(installed, suite, report, message):
    """And exit code 2."""
    done = suite("check", "gathers.py:gather", "--report", report)
    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()[-1:]
    assert message in line


def test_a_reporter_that_no_package_brings_is_unknown(suite):
    """The suite's own are named."""
    done = suite("check", "--report", "lines=out.txt")
    assert 2 == done.returncode
    assert "unknown reporter 'lines': choose from html, json" in done.stderr


def test_the_family_of_the_page_reads_its_spelling():
    """The page's interactive examples give what it shows."""
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert (0, 4) == (result.failed, result.attempted)
