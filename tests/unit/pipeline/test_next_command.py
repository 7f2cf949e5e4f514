"""What a failed check says to run next: the search with all that its verdict hangs on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oom_suite.doors import workload
from oom_suite.pipeline.check import _next_command
from oom_suite.pipeline.settings import Settings
from oom_suite.records import BudgetFit, Result, Verdict
from oom_suite.subjects import parse
from oom_suite.targets.budgets import Budget, budget

DECODE = workload("decode")
USUAL = DECODE.scenario()


def settings(**changed):
    return replace(Settings(USUAL.name, USUAL.sizes, DECODE), **changed)


def command(chosen, subject="f.py:decode", verdict=Verdict.FAIL, *, fits=True):
    found = chosen.budget
    result = Result(
        subject,
        chosen.workload.name,
        "shadow",
        chosen.scenario,
        chosen.sizes,
        verdict,
        "why",
        budget=None if found is None else BudgetFit(found.name, found.free_bytes, fits),
    )
    return _next_command(parse(subject), chosen, result)


SMALL = DECODE.scenario("small")
CASES = {
    "usual": (settings(), ""),
    "scenario": (settings(scenario="small", sizes=SMALL.sizes), " --scenario small"),
    "size": (settings(sizes={**USUAL.sizes, "num_tokens": 7}), " --set num_tokens=7"),
    "target": (settings(target="MI325X"), " --target MI325X"),
    "a target that is usual where it was asked": (
        settings(target="MI325X", usual_targets=("cpu", "MI325X")),
        "",
    ),
    "a target that is usual here alone": (
        settings(target="generic", usual_targets=("cpu",)),
        " --target generic",
    ),
    "workload": (settings(workload=workload("decode-swa")), " --workload decode-swa"),
}


@pytest.mark.parametrize("name", CASES)
def test_options_that_are_not_the_usual_ones_are_said_again(name):
    """The same question at other commits; what is as usual is left out."""
    chosen, options = CASES[name]
    assert f"git bisect run oom-suite probe f.py:decode{options}" == command(chosen)


@pytest.mark.parametrize(
    ("spelled", "option"),
    [
        (budget("12.74GiB"), "12.74GiB"),
        (budget("MI325X:12.74GiB"), "MI325X:12.74GiB"),
        (Budget("free memory of cuda", 512, "free"), "512B"),
    ],
    ids=["amount", "device", "free"],
)
def test_budget_that_is_broken_is_said_again(spelled, option):
    """One that fits decides nothing."""
    chosen = settings(budget=spelled)
    assert command(chosen, fits=False).endswith(f" --budget {option}")
    assert "--budget" not in command(chosen, fits=True)


def test_release_is_searched_among_releases():
    """With the same options."""
    chosen = settings(scenario="small", sizes=SMALL.sizes)
    expected = "oom-suite bisect --bad vllm==0.21.0 --scenario small"
    assert expected == command(chosen, "vllm==0.21.0")


def test_green_verdict_has_nothing_next():
    assert "" == command(settings(), verdict=Verdict.PASS)
