"""The page on mutation testing speaks of code that is there."""

from __future__ import annotations

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


def test_every_folder_that_the_tool_knows_is_on_the_page():
    """The page's list of folders is the tool's."""
    tool = (ROOT / ".ci" / "mutation" / "__main__.py").read_text("utf-8")
    known = re.findall(r'^    "(\w+)": Folder\(', tool, flags=re.MULTILINE)
    assert known
    assert ", ".join(f"`{name}`" for name in known) in PAGE.read_text("utf-8")
