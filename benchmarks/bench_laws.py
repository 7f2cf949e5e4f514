"""Time for a law: one symbolic run, a whole proof, and the fit to exact runs, in one run.

Compare the rows as ratios; machines differ. The subject is vLLM-shaped: `full_dequant`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from oom_suite.laws.derive import derive
from oom_suite.laws.explorer import Explorer
from oom_suite.laws.proof import MAX_RUNS, prove
from oom_suite.pipeline.programs import Prove, Run, SubjectProgram
from oom_suite.processes.askers import InThisProcess
from oom_suite.subjects import parse
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.workloads.sparse_mla.geometry.scenarios import ISSUE_41962
from oom_suite.workloads.sparse_mla.workload import DECODE

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from oom_suite.records.symbolic import Hints

Lane = Callable[[Any], Any]
SUBJECTS = ("full_dequant", "token_gather")


@pytest.fixture(params=SUBJECTS)
def lanes(request: pytest.FixtureRequest, is_timed: bool) -> tuple[Lane, Lane]:
    """The prove and the shadow lane of a subject, in this process; warmed up to be timed."""
    here, program = InThisProcess(), SubjectProgram(parse(request.param), DECODE)

    def symbolic(hints: Hints) -> object:
        return here.ask(Prove(program, LaneSpec("prove"), hints))

    def exact(sizes: Mapping[str, int]) -> object:
        return here.ask(Run(program, LaneSpec("shadow"), sizes))

    if is_timed:
        proof_of((symbolic, exact))
    return symbolic, exact


def proof_of(lanes: tuple[Lane, Lane]) -> object:
    """The whole proof; the fit is made only where the code cannot run on symbols."""
    symbolic, exact = lanes
    return prove(
        symbolic, lambda: derive(exact, DECODE, ISSUE_41962.sizes), DECODE, ISSUE_41962.sizes
    )


def test_one_symbolic_run(benchmark: BenchmarkFixture, lanes: tuple[Lane, Lane]) -> None:
    """The law at the scenario, before the other sides of its guards are looked at."""

    def law() -> object:
        return Explorer(lanes[0], DECODE, ISSUE_41962.sizes, MAX_RUNS).begin()

    benchmark.pedantic(law, rounds=3)


def test_a_whole_proof(benchmark: BenchmarkFixture, lanes: tuple[Lane, Lane]) -> None:
    """The law with every guard tried on its other side."""
    benchmark.pedantic(proof_of, args=(lanes,), rounds=3)


def test_a_fit_to_exact_runs(benchmark: BenchmarkFixture, lanes: tuple[Lane, Lane]) -> None:
    """The law by finite differences over the shadow lane, checked near and far."""
    benchmark.pedantic(derive, args=(lanes[1], DECODE, ISSUE_41962.sizes), rounds=3)
