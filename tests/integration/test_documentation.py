"""Every code block of the README and the docs is run, and prints what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from oom_suite.targets.target import DEFAULT

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"(?P<mark><!--[^\n]*-->\n)?```(?P<kind>\w*)\n(?P<body>.*?)```", re.DOTALL)
TOX = {"pip install tox && tox -e check": "oom-suite check"}
"""What a documented tox command runs, checked against tox.ini below."""

NOT_RUN = {
    "pip install tox && tox": "it is this very test run",
    "tox -e rocm": "needs an AMD GPU",
    "oom-suite bench": "needs a GPU; run on a simulated one in test_bench_command.py",
    "docker run": "needs an AMD GPU and a container engine",
    "pytest tests/gate tests/device -n auto": "needs GPUs",
    "torchrun --standalone --nproc-per-node 8": "needs eight GPUs",
    "torchrun --standalone --nproc-per-node 2": "run with its JSON in test_ranks.py",
    "git bisect": "run on a made-up repository in test_bisect.py",
    "oom-suite bisect decode.py:decode --repo": "run on sixty commits in test_bisect.py",
    "oom-suite bisect --bad vllm==0.21.0 --good vllm==0.33.0 --by": "half a minute of releases: "
    "run in tests/nightly/test_scans.py",
    "oom-suite scan vllm==0.24.0": "minutes on a busy machine: run in tests/nightly/test_scans.py",
    "oom-suite scan streaming full_dequant": "run with the next in test_scan_shards.py",
    "oom-suite scan --merge": "needs the files of the one above: run in test_scan_shards.py",
    "oom-suite history my_decode.py": "run on two commits in test_history_command.py",
    "oom-suite check gathers.py:gather": "run in test_documented_plugin.py, with that package",
}
"""Documented commands that cannot be run here, by how they begin, each with why."""

MODULES = {
    "pytest": ("-m", "pytest"),
    "python": (),
}
"""How Python is started for a command that is run as a process of its own."""

OMITTED = "..."
MACHINE_TABLE = "rank  device"


@dataclass(frozen=True)
class Command:
    """A documented command and the output that the page shows for it."""

    page: str
    text: str
    shown: str
    needs_registry: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def blocks(page):
    return [
        (m["mark"] or "", m["kind"], m["body"]) for m in BLOCK.finditer(page.read_text("utf-8"))
    ]


def commands():
    for page in PAGES:
        for mark, kind, body in blocks(page):
            if kind != "console":
                continue
            for chunk in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                text, _, shown = re.sub(r"\\\n\s*", "", chunk).partition("\n")
                yield Command(page.name, text, shown.strip("\n"), "registry" in mark)


def files_shown(page):
    """The Python files that a page shows, by the name in their first line."""
    for _, kind, body in blocks(page):
        match = re.match(r"# (\S+\.py)\n", body)
        if kind == "python" and match:
            yield match[1], body


def is_run(command):
    return not any(
        command.text == start if start.startswith("pip") else command.text.startswith(start)
        for start in NOT_RUN
    )


def agrees(shown, printed):
    """Whether the output is as shown; a line of dots stands for whole lines that are left out.

    What is the machine's own, its name, torch's version and seconds, may be another's.
    """
    wanted = "".join(
        r"(?:.*\n)*?" if line == OMITTED else re.escape(line) + r"\n" for line in comparable(shown)
    )
    whole = "".join(f"{line}\n" for line in comparable(printed))
    return re.fullmatch(wanted, whole) is not None


def comparable(text):
    """Its lines without trailing spaces, the machine's own words replaced by what they are."""
    found = re.sub(r"\b(on) [^\n:]+?, (?:x86_64, |aarch64, )?torch [\w.+]+", r"\1 MACHINE", text)
    found = re.sub(r"(?<=alloc_cpu\.cpp:)\d+", "LINE", found)
    # Its lines break where the machine's name lets them.
    found = re.sub(
        r"^(Replay of \S+ on cpu) \([^)]*\):(.*?)\n(?=  )",
        lambda match: f"{match[1]} MACHINE: {' '.join(match[2].split())}\n",
        found,
        flags=re.MULTILINE | re.DOTALL,
    )
    found = re.sub(r"\b\d+ s$", "N s", found, flags=re.MULTILINE)
    if MACHINE_TABLE in found:
        # The machine's name is as wide as it is: cells are compared, not the room between them.
        found = re.sub(r"^( *\d+  )\S.*?(  +\d+  )", r"\1MACHINE\2", found, flags=re.MULTILINE)
        found = re.sub(r"─+", "─", re.sub(r"(?<=\S) +", " ", found))
    return "\n".join(line.rstrip() for line in found.splitlines()).strip("\n").splitlines()


PARAMETERS = [
    pytest.param(c, marks=[pytest.mark.oom_registry] if c.needs_registry else [], id=str(c))
    for c in commands()
    if is_run(c)
]


@pytest.fixture(autouse=True)
def _a_laptop(monkeypatch):
    """What a reader without a GPU sees, also where there is one."""
    monkeypatch.setenv("OOM_SUITE_TARGET", DEFAULT)


@pytest.mark.parametrize("command", PARAMETERS)
def test_documented_command_prints_what_is_shown(command, suite, tmp_path):
    """A command of the documentation prints, to the letter, the output shown for it."""
    (page,) = (page for page in PAGES if page.name == command.page)
    for name, body in files_shown(page):
        (tmp_path / name).write_text(body, encoding="utf-8")
    words = shlex.split(TOX.get(command.text, command.text))
    done = suite(*words[1:]) if words[0] == "oom-suite" else process(words, tmp_path)
    assert done.returncode in {0, 1}, done.stderr
    if command.shown:
        assert agrees(command.shown, done.stdout), f"printed:\n{done.stdout}\n{done.stderr}"


def process(words, folder):
    assert words[0] in MODULES, f"do not know how to run {words[0]!r}"
    return subprocess.run(
        [sys.executable, *MODULES[words[0]], *words[1:]],
        cwd=ROOT if words[0] == "pytest" else folder,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_comparison_of_outputs_can_fail():
    """Output that differs in one figure from what is shown is noticed."""
    shown = "peak 1\n...\nlast"
    assert agrees(shown, "peak 1\nmore\nlast\n")
    assert not agrees(shown, "peak 2\nmore\nlast\n")
    assert not agrees(shown, "peak 1\nmore\nlast line\n")
    assert not agrees("peak ...", "peak 1\n")
    assert agrees("ran on A, torch 2.13.0: 3 s", "ran on B C, torch 2.11.0+cpu: 17 s")
    assert not agrees("ran on A, torch 2.13.0: 3 of 3", "ran on A, torch 2.13.0: 2 of 3")
    replay = "Replay of a on cpu (A): one\ntwo\n  inputs 3\n"
    assert agrees(replay, "Replay of a on cpu (B, long): one two\n  inputs 3\n")
    assert not agrees(replay, "Replay of a on cpu (A): one\nthree\n  inputs 3\n")
    table = f"{MACHINE_TABLE}  heads\n   0  AMD EPYC   32  PASS"
    assert agrees(table, f"{MACHINE_TABLE}        heads\n   0  Xeon, a long one   32  PASS")
    assert not agrees(table, f"{MACHINE_TABLE}  heads\n   0  AMD EPYC   33  PASS")


def test_no_output_that_is_shown_has_dots_in_a_line():
    """Dots stand for whole lines: within one they would hide that it differs."""
    hiding = [
        f"{page.name}: {line}"
        for page in PAGES
        for _, kind, body in blocks(page)
        if kind in {"console", "text"}
        for line in body.splitlines()
        if OMITTED in line and line != OMITTED and not line.startswith("$ ")
    ]
    assert [] == hiding


COMPARED_ELSEWHERE = {
    "lockfile.md": "test_lock.py",
    "memory_law.md": "test_plugin_documentation.py",
    "plugins.md": "test_documented_plugin.py",
    "pytest.md": "test_plugin_documentation.py",
}
"""Pages whose blocks of text are what a test compares, and where that is."""

NO_OUTPUT = {
    "architecture.md": "a drawing",
    "conformance.md": "commands for a machine that is not here",
    "devices.md": "needs GPUs",
    "mutation.md": "a summary of weekly runs",
    "safety.md": "a drawing",
}
"""Pages whose blocks of text are not printed by a command that can be run here, with why."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_text_is_compared_or_says_why_not(page):
    has_text = any(kind == "text" for _, kind, _ in blocks(page))
    assert has_text == (page.name in COMPARED_ELSEWHERE or page.name in NO_OUTPUT)
    if page.name in COMPARED_ELSEWHERE:
        test = Path(__file__).with_name(COMPARED_ELSEWHERE[page.name])
        assert page.name in test.read_text("utf-8")


def test_tox_runs_what_the_readme_says():
    """The check environment of tox runs the suite's main job, and nothing else."""
    section = (ROOT / "tox.ini").read_text("utf-8").split("[testenv:check]")[1].split("[")[0]
    assert "commands = oom-suite check {posargs}" in section


def test_readme_is_short():
    """A newcomer finishes the README in two minutes: it stays under 150 lines."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Every relative link of a page names a file or folder that is there."""
    text = page.read_text("utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert [] == missing
