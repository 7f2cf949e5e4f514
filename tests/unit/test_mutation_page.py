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


@pytest.fixture(scope="module")
def tool():
    """What the tool knows of folders and their tests; the rest of it needs cosmic-ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / ".ci" / "mutation")
        yield importlib.import_module("folders")


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


def test_the_test_that_is_named_as_the_file_comes_first_then_the_nearest_then_the_quickest(tool):
    """So that most mutants are noticed within seconds."""
    led = [(1, "t/test_slow.py"), (2, "t/test_far.py"), (1, "t/test_quick.py"), (3, "t/test_it.py")]
    seconds = {"t/test_slow.py": 9.0, "t/test_far.py": 0.1, "t/test_quick.py": 1.0}
    assert ["t/test_it.py", "t/test_quick.py", "t/test_slow.py", "t/test_far.py"] == tool.in_order(
        Path("it.py"), led, seconds
    )
