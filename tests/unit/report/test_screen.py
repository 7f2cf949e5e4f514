"""No name, path or message of the code under test can do more than be read."""

from __future__ import annotations

import ast
import io
import json
import shlex
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

import oom_suite
from oom_suite.records import (
    Blame,
    BudgetFit,
    Frame,
    Law,
    Polynomial,
    Result,
    Unseen,
    Verdict,
)
from oom_suite.records.commits import CommitSearch, Finding, Judged, Place, Step
from oom_suite.report import screen as screens
from oom_suite.report.commits import render_search
from oom_suite.report.files import write
from oom_suite.report.rows import printable
from oom_suite.report.screen import say_error, screen, without_commands
from oom_suite.report.terminal import render
from oom_suite.report.wording import failure_text
from oom_suite.subjects import family_of, parse

HOSTILE = {
    "escape sequence": "\x1b[2J\x1b[1;1H",
    "title of the window": "\x1b]0;gone\x07",
    "bidirectional mark": "\u202e\u2066",
    "line break": "\n::error file=x::forged\n",
    "carriage return": "\r12 passed",
    "old command": "##[error]forged",
    "form feed": "\x0c\x0b\x85\u2028",
    "zero width": "\u200b\ufeff",
}


def result_of(text, verdict=Verdict.FAIL):
    """A result in which every text of a stranger is this one."""
    frame = Frame(f"decode{text}.py", 7, f"gather{text}")
    law = Law((Polynomial({("num_blocks",): 4}),), {"num_blocks": 8}, {}, 3, (f"note {text}",))
    return Result(
        subject=f"sub{text}ject",
        workload=f"work{text}load",
        lane="shadow",
        scenario=f"scen{text}ario",
        sizes={"num_blocks": 8},
        verdict=verdict,
        reason=f"raised: Value{text}Error",
        law=law,
        peak_requested_bytes=32,
        peak_allocated_bytes=512,
        largest_request_bytes=32,
        budget=BudgetFit(f"MI{text}325X", 16, fits=False),
        blame=(Blame(f"decode{text}.py", 7, f"gather{text}", 32, "num_blocks", 4.0),),
        unseen=(Unseen(f"aten::sort{text}", (frame,), 8, f"sorts{text}"),),
        notes=(f"known {text}",),
        next_command=f"oom-suite bisect {text}",
    )


def search_of(text):
    """A search over releases or commits in which every text of a stranger is this one."""
    place = Place(f"decode{text}.py", 7, f"gather{text}", "pool", 4.0)
    found = Finding(
        *(f"f{text}", f"decode{text}", Verdict.FAIL, f"grows{text}", "4*pool", 32),
        blame=(place,),
        judged_as=f"decode{text} for generic",
    )
    step = Step("a" * 40, f"aaaaaaa one{text}", Judged((found,)), 1.0)
    turns = ((f"one{text}", f"two{text}"),) * 2
    return CommitSearch(
        *(step, step, (step,), (step, step), True),
        diff=(f"-old{text}",),
        turns=turns,
        made_with=f"torch{text}",
    )


def printed(monkeypatch, capsys, show, *, is_terminal):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("FORCE_COLOR", "1") if is_terminal else monkeypatch.delenv(
        "FORCE_COLOR", raising=False
    )
    show(screen())
    return capsys.readouterr().out


@pytest.mark.parametrize("is_terminal", [False, True], ids=["log", "terminal"])
@pytest.mark.parametrize("show", ["table", "quiet", "bisection"])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_printed_has_no_line_and_no_control_character_of_a_stranger(
    monkeypatch, capsys, name, show, is_terminal
):
    """As many lines as with a harmless name, none a command; what remains is printable."""

    def shown(text):
        result = result_of(text)

        def show_it(console):
            if show == "bisection":
                return render_search(search_of(text), console)
            return render([result], console, quiet=show == "quiet")

        output = printed(monkeypatch, capsys, show_it, is_terminal=is_terminal)
        return Text.from_ansi(output).plain if is_terminal else output

    lines = shown(HOSTILE[name]).split("\n")
    assert all(character.isprintable() for line in lines for character in line)
    assert len(shown(printable(HOSTILE[name])).split("\n")) == len(lines)
    if not is_terminal:
        assert not any(line.lstrip().startswith("::") or "##[" in line for line in lines)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_failure_under_pytest_is_as_harmless(name):
    lines = failure_text(result_of(HOSTILE[name])).split("\n")
    assert len(failure_text(result_of("x")).split("\n")) == len(lines)
    assert all(character.isprintable() for line in lines for character in line)


@pytest.mark.parametrize("name", HOSTILE)
def test_json_has_the_text_itself_and_escapes_it(tmp_path, name):
    """Tools get what was there; a terminal that shows the file obeys nothing of it."""
    write([result_of(HOSTILE[name])], tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text("utf-8")
    assert text.isascii()
    assert all(character.isprintable() or character == "\n" for character in text)
    assert f"sub{HOSTILE[name]}ject" == json.loads(text)["results"][0]["subject"]


@pytest.mark.parametrize("name", HOSTILE)
def test_an_error_is_one_line(capsys, name):
    say_error(f"no file {HOSTILE[name]}")
    output = capsys.readouterr().err
    assert ["oom-suite"] == [line.partition(":")[0] for line in output.splitlines()]
    assert output[:-1].isprintable()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("::error::x", ": :error::x"),
        ("  ::set-output name=a::b", "  : :set-output name=a::b"),
        ("tests/test_a.py::test_b", "tests/test_a.py::test_b"),
        ("a ##[error] b", "a ## [error] b"),
        (": one colon", ": one colon"),
    ],
)
def test_what_a_runner_obeys_is_broken_and_nothing_else(line, expected):
    assert expected == without_commands(line)


def test_a_text_that_is_wrapped_begins_no_line_with_a_command(monkeypatch, capsys):
    """The break of a long line may fall before a name such as ``::error::x``."""
    table = Table.grid()
    table.add_column(width=10, overflow="fold")
    table.add_row(Text("0123456789::error::x"))
    output = printed(monkeypatch, capsys, lambda console: console.print(table), is_terminal=False)
    assert ["0123456789", ": :error:", ":x"] != output.split()
    assert not any(line.lstrip().startswith("::") for line in output.splitlines())


def test_a_terminal_keeps_colours_and_pytest_node_ids(monkeypatch, capsys):
    """A healthy text is printed as it is."""
    text = Text("tests/a.py::b é 漢 → x", style="red")
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    console.push_render_hook(screens._Harmless(is_log=False))
    console.print(text)
    assert "\x1b[31mtests/a.py::b é 漢 → x\x1b[0m\n" == console.file.getvalue()


def test_commands_print_on_no_other_console():
    """Whoever made a console of rich's own would print a stranger's text as it is."""
    root = Path(oom_suite.__file__).parent
    makers = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Console", "_Console"}
    }
    # The other prints into a text of its own, which pytest then shows.
    assert {"report/screen.py", "pytest_plugin/reporting.py"} == makers


@pytest.mark.parametrize("text", ["a file.py:f", "x;rm -rf ~.py:f", "$(id).py:f", "plain.py:f"])
@pytest.mark.parametrize("options", [(), ("--stub", "one"), ("--stub", "one", "--stub", "two")])
def test_a_command_to_run_next_can_be_pasted(text, options):
    """A shell reads the subject as one word, whatever it is called, and its options as such."""
    spec = parse(" ".join((text, *options)))
    words = shlex.split(family_of(spec).next_command(spec))
    assert ["git", "bisect", "run", "oom-suite", "probe", text, *options] == words
