"""A hostile path, name and exception, in what every command prints and writes."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import pytest

from fixtures.command import run_here

BAD = "x\n::error::FORGED\x1b[2J\x1b]0;t\x07\u202e\r##[error]FORGED"
FILE = f"s{BAD}<script>alert(1)</script>'\".py".replace("/", "\u2215")
SUBJECT = f"""
import torch

HOSTILE = {BAD!r}


def grows(q, swa_k_cache, **step):
    torch.empty(swa_k_cache.shape[0], 7, dtype=torch.uint8, device=q.device)


def raises(q, **step):
    raise type("Err" + HOSTILE, (ValueError,), {{}})("said " + HOSTILE)
"""
SMALL = ("--scenario", "small", "--workload", "decode-swa")
GROWS, RAISES = f"{FILE}:grows", f"{FILE}:raises"

COMMANDS = {
    "check": (GROWS, RAISES, *SMALL),
    "check quiet": (GROWS, RAISES, *SMALL, "-q"),
    "check measured": (GROWS, RAISES, *SMALL, "--lane", "measure"),
    "check safety": (RAISES, "--safety", "--workload", "decode-swa"),
    "check absent": (f"{BAD}.py:f", f"no{BAD}.module:f", *SMALL),
    "check refused": (BAD, "--scenario", BAD),
    "check option": (f"--{BAD}",),
    "check lane": ("--lane", BAD),
    "check set": ("--set", f"{BAD}=1"),
    "check json": ("--json", f"{BAD}/x"),
    "check device": ("--lane", "measure", "--device", BAD),
    "check report": ("--report", f"{BAD}=x"),
    "law": (GROWS, *SMALL),
    "law raises": (RAISES, *SMALL),
    "lock": (GROWS, RAISES, *SMALL, "--file", f"{BAD}.toml"),
    "measure": (GROWS, RAISES, "--workload", "decode-swa"),
    "probe": (GROWS, *SMALL),
    "probe raises": (RAISES, *SMALL),
    "bisect": ("--bad", BAD),
    "history": (BAD,),
    "record": (f"{BAD}.json",),
    "compare": (f"{BAD}.json", "none.json"),
    "conformance": ("--only", BAD, "--scaled"),
    "doctor": (BAD,),
    "ranks": ("--model", BAD),
    "replay": ("issue-41962", RAISES, "--device=cpu", "--set=num_blocks=64"),
    "sanitize": (RAISES,),
    "scan": (GROWS, RAISES, "--workload", "decode-swa", "--jobs", "1"),
    "scan workload": (GROWS, "--workload", BAD),
    "selfcheck": ("--only", BAD),
    BAD: (),
}
"""By a name that begins with the command: its arguments."""


@pytest.fixture
def subject(tmp_path):
    (tmp_path / FILE).write_text(SUBJECT, encoding="utf-8")
    return tmp_path


def refuse_forged(text):
    """Nothing, where each line is the suite's own and can do no more than be read."""
    for line in text.splitlines(keepends=True):
        assert line.removesuffix("\n").isprintable(), line
        assert not line.lstrip().startswith(("::", "FORGED")), line
        assert "##[" not in line, line


@pytest.mark.parametrize("name", COMMANDS, ids=lambda name: name if name.isprintable() else "bad")
@pytest.mark.usefixtures("remembered_runs")
def test_no_command_prints_what_a_terminal_or_a_runner_obeys(subject, name):
    """On either stream, whatever came of it; the harmless part of the text is there."""
    command = name if name == BAD else name.split()[0]
    done = run_here(command, *COMMANDS[name], folder=subject)
    said = done.stdout + done.stderr
    refuse_forged(said)
    assert "FORGED" in said or "Traceback" not in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("remembered_runs")
def test_every_file_escapes_it(subject):
    """JSON and a page: nothing is markup, no line is the stranger's, and the text is whole."""
    words = (GROWS, RAISES, *SMALL, "--json", "a.json", "--html", "a.html")
    run_here("check", *words, folder=subject)
    text = (subject / "a.json").read_text("utf-8")
    refuse_forged(text)
    body = json.loads(text)
    assert [GROWS, RAISES] == [result["subject"] for result in body["results"]]
    page = (subject / "a.html").read_text("utf-8")
    assert "<script>alert(1)" not in page
    shown = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert not any(line.lstrip().startswith(("::error", "FORGED")) for line in shown.splitlines())
    assert all(c.isprintable() or c in "\n\t" for c in shown)


def test_pytest_shows_and_writes_it_harmlessly(oom_run, pytester):
    """The failure, the summary, the table and the JUnit file."""
    (pytester.path / FILE).write_text(SUBJECT, encoding="utf-8")
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.parametrize("name", {[GROWS, RAISES]!r}, ids=["grows", "raises"])
        def test_it(oom_check, name):
            oom_check(name, workload="decode-swa")
        """
    )
    done = oom_run("--oom-scenario=small", "--junit-xml=a.xml", "-rA")
    text = "\n".join((*done.outlines, *done.errlines)).replace("test_it.py::test_it", "test_it")
    refuse_forged(text)
    root = ET.fromstring((pytester.path / "a.xml").read_text("utf-8"))
    assert 2 == len(root.findall(".//failure"))
    values = [one.get("value", "") for one in root.iter("property")]
    assert values
    refuse_forged("\n".join(values))
