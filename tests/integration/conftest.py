"""Runs pytest as another repository would, with the plugin that the package installs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATE = ROOT / "tests" / "gate"

# Other plugins take longer to start and stop than these runs do.
QUICK = ("-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "no:cacheprovider")

SEEN = """
import json
from oom_suite.pytest_plugin import OPTIONS

def test_seen(pytestconfig):
    options = pytestconfig.stash[OPTIONS]
    seen = {
        "subjects": options.subjects,
        "scenario": options.scenario.name,
        "sizes": dict(options.scenario.sizes),
        "device": options.device,
        "budget_free_bytes": options.budget and options.budget.free_bytes,
        "target": list(options.targets),
        "time_limit_s": options.time_limit_s,
        "test_time_limit_s": options.test_time_limit_s,
        "json": options.json and options.json.name,
        "lanes": options.lanes,
    }
    with open("seen.json", "w") as sink:
        json.dump(seen, sink)
"""


class _Libraries:
    """Modules that a run inside this process imported from elsewhere than its own folder."""

    def __init__(self):
        self.modules = {}

    def pytest_unconfigure(self, config):
        for name, module in sys.modules.items():
            if not str(getattr(module, "__file__", "")).startswith(str(config.rootpath)):
                self.modules[name] = module


@pytest.fixture
def _libraries():
    libraries = _Libraries()
    yield libraries
    sys.modules.update(libraries.modules)


@pytest.fixture
def pytester(_libraries, pytester, monkeypatch):
    """pytest's own, whose runs inside this process leave behind what they imported of libraries.

    Its own forgets all modules, and torch cannot be imported a second time.
    """

    def inline_run(*arguments, plugins=(), **options):
        done = original(*arguments, plugins=[*plugins, _libraries], **options)
        sys.modules.update(_libraries.modules)
        return done

    original = pytester.inline_run
    monkeypatch.setattr(pytester, "inline_run", inline_run)
    return pytester


@pytest.fixture
def oom_seen(pytester):
    """`oom_seen(*arguments, ini="")`: the options as a test of such a run sees them."""

    def seen(*arguments, ini=""):
        pytester.makeini(f"[pytest]\n{ini}\n")
        pytester.makepyfile(test_seen=SEEN)
        pytester.runpytest(*QUICK, *arguments).assert_outcomes(passed=1)
        return json.loads((pytester.path / "seen.json").read_text())

    return seen


@pytest.fixture
def oom_refusal(pytester):
    """`oom_refusal(*arguments, ini="")`: the one line with which such a run refuses to start."""

    def refusal(*arguments, ini=""):
        pytester.makeini(f"[pytest]\n{ini}\n")
        pytester.makepyfile(test_never="raise SystemExit('collected')")
        done = pytester.runpytest(*QUICK, *arguments)
        assert pytest.ExitCode.USAGE_ERROR == done.ret
        assert "collected" not in str(done.stdout)
        (line,) = [line for line in done.errlines if line]
        return line.removeprefix("ERROR: ")

    return refusal


@pytest.fixture
def oom_run(pytester, remembered_runs):
    """`oom_run(*arguments)`: a run of the test files that the test made."""

    def run(*arguments):
        return pytester.runpytest(*QUICK, *arguments)

    return run


@pytest.fixture
def oom_gate(pytester, remembered_runs):
    """`oom_gate(*arguments)`: a run of this repository's gate, and its results as JSON."""

    def gate(*arguments, subjects):
        named = [f"--oom-subject={subject}" for subject in subjects]
        small = ("--oom-scenario=small", "--oom-json=results.json")
        done = pytester.runpytest(str(GATE), *QUICK, *small, *named, *arguments)
        return done, json.loads((pytester.path / "results.json").read_text())["results"]

    return gate


@pytest.fixture
def without_plotly(monkeypatch):
    """Nothing; plotly cannot be imported."""
    for name in ("plotly", "plotly.offline"):
        monkeypatch.setitem(sys.modules, name, None)
