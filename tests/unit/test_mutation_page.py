"""The page on mutation testing speaks of code that is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mutation.md"


def explained():
    """The rows of the table of mutants that are the same program."""
    for row in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`oom_suite/"):
            file, before, after = (cell.strip("`").replace("\\|", "|") for cell in cells[:3])
            yield pytest.param(file, before, after, cells[3], id=f"{file} {before[:40]}")


@pytest.mark.parametrize(("file", "before", "after", "why"), explained())
def test_an_explained_mutant_is_one_of_a_line_that_is_there(file, before, after, why):
    """So that no explanation outlives its code."""
    lines = [line.strip() for line in (ROOT / file).read_text("utf-8").splitlines()]
    for line in before.split(" ⏎ "):
        assert line.strip() in lines
    assert before != after
    assert why


def part_of_tool(name):
    """A module of the tool that does without cosmic-ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / ".ci" / "mutation")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def tool():
    """What the tool knows of folders and their tests."""
    return part_of_tool("folders")


@pytest.fixture(scope="module")
def choice():
    """How the tool chooses the tests of a mutant."""
    return part_of_tool("choice")


def test_every_folder_that_the_tool_knows_is_on_the_page(tool):
    """The page's list of folders is the tool's."""
    assert ", ".join(f"`{name}`" for name in tool.FOLDERS) in PAGE.read_text("utf-8")


@pytest.mark.parametrize("name", ["laws", "tracing", "operators", "allocator", "safety"])
def test_every_file_that_is_mutated_has_tests_that_lead_to_it(tool, name):
    """A file without one would have survivors alone, and nobody would know why."""
    held = tool.holders(ROOT, name)
    assert tool.sources(ROOT, name) == list(held)
    assert all(held.values())


def test_a_file_that_no_test_leads_to_ends_the_run(tool, tmp_path):
    """The message names the file, and where its tests belong."""
    for file, text in {
        "oom_suite/allocator/held.py": "",
        "oom_suite/allocator/alone.py": "",
        "tests/unit/allocator/test_held.py": "import oom_suite.allocator.held",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(LookupError, match=r"leads to oom_suite/allocator/alone\.py: name its"):
        tool.holders(tmp_path, "allocator")


@pytest.mark.parametrize("name", ["shared", "tests.unit.allocator.shared"])
def test_a_test_leads_to_what_it_imports_through_another_file_of_the_tests(tool, tmp_path, name):
    """Whether that file is named as one beside it, or from the root on."""
    for file, text in {
        "oom_suite/allocator/held.py": "",
        "tests/unit/allocator/shared.py": "import oom_suite.allocator.held",
        "tests/unit/allocator/test_held.py": f"from {name} import held",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    held = {Path("oom_suite/allocator/held.py"): ["tests/unit/allocator/test_held.py"]}
    assert held == tool.holders(tmp_path, "allocator")


@pytest.fixture
def mutated(tmp_path, monkeypatch):
    """A file of one function behind a table, in a repository of its own."""
    monkeypatch.chdir(tmp_path)
    Path("it.py").write_text("TABLE = (1, 2)\n\n\n@cache\ndef one():\n    return 1\n")
    return Path("it.py")


@pytest.mark.parametrize("line", [1, 5, 6])
def test_a_mutant_is_tried_on_the_tests_that_enter_its_function_the_quick_ones_first(
    choice, mutated, line
):
    """A table's on those that enter any; then on the rest of their files, and on its namesake."""
    seconds = {
        "t/a.py::x": 0.5,
        "t/a.py::y": 0.1,
        "t/b.py::x": 3,
        "t/test_it.py::x": 1,
        "t/c.py::x": 1,
    }
    seen = choice.Seen(seconds, {("it.py", 4): {"t/a.py::x", "t/b.py::x"}})
    near = ["t/a.py", "t/b.py", "t/test_it.py", "t/c.py"]
    first, rest = choice.parts(mutated, line, near, seen)
    assert (["t/a.py"], {"t/a.py::x"}) == first[:2]
    assert (
        ["t/a.py", "t/test_it.py", "t/b.py"],
        seconds.keys() - {"t/a.py::x", "t/c.py::x"},
    ) == rest[:2]


def test_a_mutant_that_no_test_enters_is_tried_on_all_that_lead_to_it(choice, mutated):
    """A child process may enter it: what a test starts is not watched."""
    seen = choice.Seen({"t/a.py::x": 1.0, "t/b.py::x": 1.0, "t/c.py::x": 1.0})
    (only,) = choice.parts(mutated, 6, ["t/a.py", "t/b.py"], seen)
    assert {"t/a.py::x", "t/b.py::x"} == only.tests
