"""Time for a law: one symbolic run, a whole proof, and the fit to exact runs, in one run.

Compare the rows as ratios; machines differ. The subject is vLLM-shaped: `full_dequant`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from oom_suite.laws.derive import derive
from oom_suite.laws.explorer import Explorer
from oom_suite.laws.proof import MAX_RUNS, prove
from oom_suite.pipeline.worker import make_handler
from oom_suite.records import Job
from oom_suite.workloads.sparse_mla.geometry.scenarios import ISSUE_41962
from oom_suite.workloads.sparse_mla.workload import DECODE

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

Lane = Callable[[Any], Any]
SUBJECTS = ("full_dequant", "token_gather")


@pytest.fixture(params=SUBJECTS)
def lanes(request: pytest.FixtureRequest) -> tuple[Lane, Lane]:
    """The prove and the shadow lane of a subject, warmed up, in this process."""

    def lane(name: str) -> Lane:
        return make_handler(Job(request.param, None, DECODE.builder, name, "cpu", "generic"))

    symbolic, exact = lane("prove"), lane("shadow")
    prove(symbolic, exact, DECODE, ISSUE_41962.sizes)
    return symbolic, exact


def test_one_symbolic_run(benchmark: BenchmarkFixture, lanes: tuple[Lane, Lane]) -> None:
    """The law at the scenario, before the other sides of its guards are looked at."""

    def law() -> object:
        return Explorer(lanes[0], DECODE, ISSUE_41962.sizes, MAX_RUNS).begin()

    benchmark.pedantic(law, rounds=3)


def test_a_whole_proof(benchmark: BenchmarkFixture, lanes: tuple[Lane, Lane]) -> None:
    """The law with every guard tried on its other side."""
    benchmark.pedantic(prove, args=(*lanes, DECODE, ISSUE_41962.sizes), rounds=3)


def test_a_fit_to_exact_runs(benchmark: BenchmarkFixture, lanes: tuple[Lane, Lane]) -> None:
    """The law by finite differences over the shadow lane, checked near and far."""
    benchmark.pedantic(derive, args=(lanes[1], DECODE, ISSUE_41962.sizes), rounds=3)
