"""The same code gets the same verdict through every door: `check`, `@memory_law`, `oom_law`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from verdict_programs import AXES, PROGRAMS

from oom_suite import doors

HERE = Path(__file__).parent

DOOR = """
from dataclasses import replace

from oom_suite.hookspecs import hookimpl
from oom_suite.pipeline.law_tests.promise import promise
from oom_suite.records import Convention, Scenario

AXES, PROMISES = {axes!r}, {promises!r}

@hookimpl
def oom_workloads():
    for name, promises in PROMISES.items():
        yield replace(
            promise(axes=AXES, **promises).workload,
            name=f"verdict-{{name}}",
            builder="verdict_programs:inputs",
            convention=Convention(("cache", "rows", "weight"), gradients=True),
            scenarios={{"default": Scenario("default", AXES, "small")}},
        )
"""

LAW_TEST = """
import functools
from oom_suite import memory_law
from verdict_programs import inputs, {name}

@memory_law(axes={axes!r}, measure=False, **{promises!r})
def test_law(sizes, device):
    return functools.partial({name}, **inputs(sizes, device))
"""

FIXTURE_TEST = """
import functools
from verdict_programs import inputs, {name}

def build(sizes, device):
    return functools.partial({name}, **inputs(sizes, device))

def test_fixture(oom_law):
    oom_law(build, axes={axes!r}, measure=False, **{promises!r})
"""

UNDER_PYTEST = {"memory_law": LAW_TEST, "oom_law": FIXTURE_TEST}


def promises_of(name):
    program = PROGRAMS[name]
    return {
        "independent_of": program.independent_of,
        "at_most": program.at_most,
        "linear_in": program.linear_in,
    }


@pytest.fixture
def door(tmp_path_factory, monkeypatch):
    """A package that brings a workload for each program, installed on the path."""
    folder = tmp_path_factory.mktemp("door")
    promises = {name: promises_of(name) for name in PROGRAMS}
    (folder / "verdict_door.py").write_text(DOOR.format(axes=AXES, promises=promises))
    info = folder / "verdict_door-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: verdict_door\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[oom_suite]\nverdicts = verdict_door\n")
    monkeypatch.syspath_prepend(str(folder))
    doors.plugins.cache_clear()
    doors._by_name.cache_clear()
    yield
    doors.plugins.cache_clear()
    doors._by_name.cache_clear()


@pytest.fixture
def through_check(suite, tmp_path):
    def verdict(name):
        done = suite(
            "check", f"{HERE / 'verdict_programs.py'}:{name}",
            "--workload", f"verdict-{name}", "--json", "check.json", "--quiet",
        )  # fmt: skip
        assert done.returncode in {0, 1, 3}, done.stderr
        (result,) = json.loads((tmp_path / "check.json").read_text())["results"]
        return result

    return verdict


@pytest.fixture
def through_pytest(pytester):
    """`through_pytest(name)`: the results of both doors under pytest, of one run."""

    def verdicts(name):
        bodies = {
            f"test_by_{door}": source.format(name=name, axes=AXES, promises=promises_of(name))
            for door, source in UNDER_PYTEST.items()
        }
        pytester.makepyfile(**bodies)
        pytester.runpytest("-p", "no:cacheprovider", "--oom-json", "laws.json")
        results = json.loads((pytester.path / "laws.json").read_text())["results"]
        found = {door: [] for door in UNDER_PYTEST}
        for result in results:
            (door,) = (door for door in found if result["subject"].startswith(f"test_by_{door}.py"))
            found[door].append(result)
        assert dict.fromkeys(found, 1) == {door: len(each) for door, each in found.items()}
        return {door: result for door, (result,) in found.items()}

    return verdicts


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.usefixtures("door")
def test_every_door_gives_the_same_verdict(name, through_check, through_pytest):
    """The verdict that is right for the program, for the same reason, and the same law."""
    found = {
        "check": through_check(name),
        **through_pytest(name),
    }
    verdicts = {door: result["verdict"] for door, result in found.items()}
    assert dict.fromkeys(found, PROGRAMS[name].verdict) == verdicts, found["check"]["reason"]
    laws = {door: (result["law"] or {}).get("text") for door, result in found.items()}
    assert dict.fromkeys(found, laws["check"]) == laws
    # Files are shown relative to the folder that each door is run in.
    reasons = {door: re.sub(r"\S*/", "", result["reason"]) for door, result in found.items()}
    assert dict.fromkeys(found, reasons["check"]) == reasons


def test_there_are_programs_of_every_verdict():
    """Thirty or more, with healthy ones, broken ones and some that cannot be judged."""
    assert len(PROGRAMS) >= 30
    assert {"PASS", "FAIL", "INCONCLUSIVE"} == {program.verdict for program in PROGRAMS.values()}
