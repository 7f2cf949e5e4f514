"""The fixture `oom_check` and the hook, as another repository uses them."""

from __future__ import annotations

import subprocess
import sys

from oom_suite.errors import ContractError

OWN = """
import pytest
from oom_suite.errors import ContractError

def test_each_is_judged_once(oom_check):
    first = oom_check.judge("missing.py:decode")
    assert first is oom_check.judge("missing.py:decode")

def test_the_error_has_the_result(oom_check):
    with pytest.raises(ContractError) as caught:
        oom_check("missing.py:decode")
    assert caught.value.result.verdict.value == "INCONCLUSIVE"

@pytest.mark.parametrize("names", [{"workload": "decod"}, {"lane": "shade"}])
def test_a_name_that_is_none(oom_check, names):
    with pytest.raises(pytest.UsageError, match="unknown .*; did you mean"):
        oom_check("streaming", **names)
"""


def test_it_judges_once_and_its_error_carries_the_result(pytester, oom_run):
    """A contract failure is an assertion that fails, with structured fields."""
    pytester.makepyfile(OWN)
    oom_run().assert_outcomes(passed=4)
    assert issubclass(ContractError, AssertionError)


def test_the_hook_is_called_once_for_each_result(pytester, oom_run):
    """However many tests asked for it."""
    pytester.makeconftest("def pytest_oom_result(result): print('\\nheard of', result.subject)")
    pytester.makepyfile(OWN)
    done = oom_run("-s")
    assert ["heard of missing.py:decode"] == [
        line for line in done.outlines if line.startswith("heard of")
    ]


def test_a_run_that_judges_nothing_says_nothing_at_its_end(pytester, oom_run):
    """The plugin may be installed for another project."""
    pytester.makepyfile("def test_other(): pass")
    oom_run().stdout.no_fnmatch_line("*= oom_suite =*")


def test_the_plugin_does_not_import_torch():
    """Pytest starts as fast with it as without."""
    code = "import sys, oom_suite.pytest_plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
