"""Which frames are code under test, how their files are shown, and where a stack ends."""

from __future__ import annotations

import gc
import sysconfig
import weakref
from pathlib import Path

import pytest
import torch

import oom_suite
from oom_suite.records import Frame
from oom_suite.tracing.source_lines import (
    FileNames,
    enter_code_under_test,
    lines_under_test,
    no_collections,
)

HERE = Path(__file__).parent
SUITE = Path(oom_suite.__file__).parent
TORCH = Path(torch.__file__).parent
STDLIB = sysconfig.get_path("stdlib")
SITE = "/env/lib/python3/site-packages"


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        (f"{HERE}/code.py", "code.py"),
        (f"{HERE}/part/code.py", "part/code.py"),
        ("/elsewhere/code.py", "/elsewhere/code.py"),
        (f"{SITE}/vllm/ops.py", "vllm/ops.py"),
        (f"{SITE}/a/site-packages/b.py", "b.py"),
        ("/site-packages/b.py", "/site-packages/b.py"),
        (f"{SUITE}/workloads/sparse_mla/builtins/rows.py", None),
        (f"{SUITE}/selfcheck/faults/growth.py", None),
        (f"{SUITE}/tracing/recorder.py", ""),
        (f"{TORCH}/nn/functional.py", ""),
        (f"{SITE}/triton/runtime/jit.py", ""),
        (f"{STDLIB}/contextlib.py", ""),
        (f"{STDLIB}/site-packages/vllm/ops.py", "vllm/ops.py"),
        ("<string>", ""),
        ("<frozen importlib._bootstrap>", ""),
    ],
)
def test_a_file_is_shown_as_seen_from_its_root_or_not_at_all(filename, shown):
    """The suite, torch, triton and Python itself are no code under test; built-ins are."""
    found = FileNames(HERE).shown(filename)
    if shown is None:
        assert found.endswith(filename.rpartition("oom_suite/")[2])
    else:
        assert (shown or None) == found


def test_a_file_under_the_current_folder_is_shown_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = FileNames(HERE)
    assert "code.py" == names.shown(f"{tmp_path}/code.py")
    assert "code.py" == names.shown(f"{HERE}/code.py")


def test_a_current_folder_that_is_gone_is_no_matter(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "code.py" == FileNames(HERE).shown(f"{HERE}/code.py")


def stack_in(call):
    """What `call(lines)` gives inside the code under test."""
    lines, found = lines_under_test(HERE), []
    enter_code_under_test(lambda: found.append(call(lines)))
    return found[0]


def outer(lines):
    return inner(lines)


def inner(lines):
    return lines.stack()


def test_a_stack_goes_from_the_innermost_line_to_the_first_of_the_code_under_test():
    functions = [frame.function for frame in stack_in(outer)]
    assert ["inner", "outer", "<lambda>"] == functions
    first = inner.__code__.co_firstlineno
    assert Frame("test_source_lines.py", first + 1, "inner") == stack_in(outer)[0]


def test_two_lines_of_one_function_are_two_frames():
    def twice(lines):
        first = lines.stack()
        return first[0].line, lines.stack()[0].line

    first, second = stack_in(twice)
    assert first + 1 == second


def test_a_recorded_stack_is_read_by_the_same_rules():
    """Up to the function that calls the code under test, in its own file alone."""
    lines = lines_under_test(HERE)
    anchor = enter_code_under_test.__code__
    recorded = [
        {"filename": f"{HERE}/code.py", "line": 3, "name": "inner"},
        {"filename": f"{TORCH}/nn/functional.py", "line": 9, "name": "pad"},
        {"filename": f"{HERE}/code.py", "line": 7, "name": anchor.co_name},
        {"filename": f"{HERE}/other.py", "line": 8, "name": "outer"},
        {"filename": anchor.co_filename, "line": 1, "name": anchor.co_name},
        {"filename": f"{HERE}/harness.py", "line": 2, "name": "run"},
    ]
    assert (
        Frame("code.py", 3, "inner"),
        Frame("code.py", 7, anchor.co_name),
        Frame("other.py", 8, "outer"),
    ) == lines.of_history(recorded)


def test_the_line_that_runs_now_in_words():
    line = here.__code__.co_firstlineno + 1
    assert f" at test_source_lines.py:{line} (here)" == stack_in(here)


def here(lines):
    return lines.here()


BELOW = """
class Element:
    def __init__(self, lines):
        self.lines, self.said = lines, []

    def ask(self, *_):
        self.said.append(self.lines.assigns_element())

    __setitem__ = __getitem__ = __call__ = ask
"""
"""Code of a file that is not under test, as torch's is."""


def test_an_assignment_to_an_element_is_told_from_a_call():
    """By the line of the code under test, whatever runs below it."""
    names = {}
    exec(compile(BELOW, "<not under test>", "exec"), names)

    def code(lines):
        element = names["Element"](lines)
        element[0] = 1
        element[0]
        element(0)
        element.ask(0)
        return element.said

    assert [True, False, False, False] == stack_in(code)


@pytest.mark.parametrize("was_enabled", [True, False])
def test_nothing_is_collected_in_a_call_and_afterwards_it_is_as_it_was(was_enabled):
    """However the call ends."""

    def call():
        with no_collections():
            seen.append(gc.isenabled())
            raise ZeroDivisionError

    seen, before = [], gc.isenabled()
    (gc.enable if was_enabled else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError):
            call()
        assert [False, was_enabled] == [*seen, gc.isenabled()]
    finally:
        (gc.enable if before else gc.disable)()


def test_what_is_young_and_in_a_cycle_is_collected_before_the_call():
    """What the builder left is no input."""

    class Node:
        pass

    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        node = Node()
        node.own = node
        known = weakref.ref(node)
        del node
        assert known() is not None
        with no_collections():
            assert known() is None
    finally:
        if was_enabled:
            gc.enable()


def test_a_file_is_looked_up_once():
    names = FileNames(HERE)
    assert "code.py" == names.shown(f"{HERE}/code.py")
    names._roots.clear()
    assert "code.py" == names.shown(f"{HERE}/code.py")
    assert f"{HERE}/other.py" == names.shown(f"{HERE}/other.py")
