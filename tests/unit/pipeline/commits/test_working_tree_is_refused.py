"""Code that comes from the user's working tree is not the commit's."""

from __future__ import annotations

import sys

import pytest

from oom_suite.doors import workload
from oom_suite.errors import SubjectError
from oom_suite.pipeline.programs import SubjectProgram
from oom_suite.processes.protocol import Kept
from oom_suite.subjects import parse

DECODE = "from helpers_of_decode import x\n\ndef decode(q, **step):\n    pass\n"


@pytest.fixture
def trees(tmp_path, monkeypatch):
    """A working tree and a commit; what both import lies in the working tree."""
    tree, commit = tmp_path / "tree", tmp_path / "commit"
    for folder in (tree, commit):
        folder.mkdir()
        (folder / "s.py").write_text(DECODE)
    (tree / "helpers_of_decode.py").write_text("x = 1\n")
    monkeypatch.chdir(commit)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tree)])
    yield tree, commit
    sys.modules.pop("helpers_of_decode", None)


def test_module_of_the_working_tree_is_named(trees):
    """As what an editable installation puts on the path; the line says what to do."""
    tree, _ = trees
    program = SubjectProgram(parse("s.py:decode"), workload("decode-swa"), instead_of=tree)
    with pytest.raises(SubjectError, match=r"helpers_of_decode was loaded from .* not the"):
        program.load(Kept())


def test_modules_of_the_commit_are_its_own(trees):
    """Once the commit has the file itself."""
    tree, commit = trees
    (commit / "helpers_of_decode.py").write_text("x = 2\n")
    program = SubjectProgram(parse("s.py:decode"), workload("decode-swa"), instead_of=tree)
    assert commit == program.load(Kept()).root
