"""A pytest test as what makes a commit good or bad: only a verdict is one."""

from __future__ import annotations

import pytest

from oom_suite.pipeline.commits.pytest_test import TestPredicate
from oom_suite.pipeline.settings import silent
from oom_suite.records import Verdict
from oom_suite.records.commits import Place

GOOD, BAD, NEITHER = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
LAW = """
from oom_suite.errors import ContractError
from oom_suite.records import Blame, Law, Polynomial, Result, Verdict


def result(verdict):
    law = Law((Polynomial.of({("pool",): 8}),), {"pool": 4})
    return Result(
        "it", "memory_law", "shadow", "default", {"pool": 4}, verdict, "why", law=law,
        peak_requested_bytes=32, blame=(Blame("a.py", 3, "f", 32, "pool", 8.0),),
    )
"""
TESTS = f"""
import os
import pytest
{LAW}

def test_passes():
    assert True

def test_fails():
    assert 1 == 2

def test_out_of_memory():
    raise MemoryError

def test_imports():
    import no_such

def test_skipped():
    pytest.skip("x")

@pytest.mark.xfail
def test_expected():
    assert False

@pytest.fixture
def before():
    1 / 0

@pytest.fixture
def after():
    yield
    1 / 0

def test_setup(before):
    pass

def test_teardown(after):
    pass

def test_broken_promise(oom_check):
    oom_check.note(result(Verdict.PASS))
    oom_check.note(result(Verdict.FAIL))
    raise ContractError("FAIL  it: why", result(Verdict.FAIL))

def test_unjudged_promise():
    raise ContractError("INCONCLUSIVE  FAIL", result(Verdict.INCONCLUSIVE))
"""
OUTCOMES = {
    "passes": (GOOD, "it passes"),
    "fails": (BAD, "AssertionError: assert 1 == 2"),
    "out_of_memory": (BAD, "MemoryError"),
    "imports": (NEITHER, "ModuleNotFoundError: No module named 'no_such'"),
    "skipped": (NEITHER, "it was skipped, or is expected to fail"),
    "expected": (NEITHER, "it was skipped, or is expected to fail"),
    "setup": (NEITHER, "setup: ZeroDivisionError: division by zero"),
    "teardown": (NEITHER, "teardown: ZeroDivisionError: division by zero"),
    "broken_promise": (BAD, "why"),
    "unjudged_promise": (NEITHER, "why"),
}
NO_OUTCOMES = {
    "syntax": ("def test(:", "cannot be collected: SyntaxError: invalid syntax"),
    "import-of-file": ("import no_such", "No module named 'no_such'"),
    "no-such-test": ("def test_other(): pass", "not found"),
    "crashes": ("import os\ndef test(): os.kill(os.getpid(), 11)", "SIGSEGV ended pytest"),
    "ends-itself": ("import os\ndef test(): os._exit(1)", "exit code 1"),
    "hangs": ("import time\ndef test(): time.sleep(99)", "no answer within 3 s"),
}


def judged(folder, monkeypatch, text, test="test_it.py::test", **options):
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    quick = ("-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "no:xdist")
    predicate = TestPredicate((), test, quick, 3.0 if "sleep" in text else 60.0)
    return predicate.judge(None, silent, **options)


def test_only_a_test_that_ran_is_good_or_bad(tmp_path, monkeypatch):
    """Passing is good, failing is bad; what kept a test from running is neither."""
    found = judged(tmp_path, monkeypatch, TESTS, test="test_it.py")
    assert OUTCOMES == {
        each.name.partition("::test_")[2]: (each.verdict, each.reason) for each in found.findings
    }
    assert BAD is found.verdict, "the worst counts"
    (law,) = (each for each in found.findings if each.law)
    assert ("8*pool", 32, "memory_law") == (law.law, law.peak_requested_bytes, law.workload)
    assert (Place("a.py", 3, "f", "pool", 8.0),) == law.blame
    assert not list(tmp_path.rglob("__pycache__")), "byte code was left for the next commit"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", NO_OUTCOMES)
def test_run_without_an_outcome_is_neither(tmp_path, monkeypatch, name):
    """The reason says what happened instead."""
    text, reason = NO_OUTCOMES[name]
    found = judged(tmp_path, monkeypatch, text)
    assert NEITHER is found.verdict
    assert reason in found.reason


def test_module_of_the_working_tree_is_not_the_commit_s(tmp_path, monkeypatch):
    """A test that imports from there judges nothing."""
    tree, commit = tmp_path / "tree", tmp_path / "commit"
    for folder in (tree, commit):
        folder.mkdir()
    (tree / "kernels.py").write_text("")
    text = f"import sys\nsys.path.append({str(tree)!r})\nimport kernels\ndef test(): pass"
    found = judged(commit, monkeypatch, text, instead_of=tree)
    assert NEITHER is found.verdict
    assert "the module kernels was loaded from" in found.reason
