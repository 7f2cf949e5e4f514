"""What a creep check costs: real steps, fake steps, and cycles repeated in the allocator model.

Run it with ``pytest benchmarks/bench_creep.py``. Compare the rows of a table as ratios; machines
differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from oom_suite.safety.creep import judged
from oom_suite.safety.creep_run import real_run, shadow_run
from oom_suite.safety.creep_steps import CYCLE, NUM_STEADY
from oom_suite.safety.steps import Target
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.workload import DECODE, DECODE_SWA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

    from oom_suite.safety.creep_run import CreepRun

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=BUILTINS)
def target(
    request: pytest.FixtureRequest, benchmark: BenchmarkFixture, is_timed: bool
) -> Iterator[Target]:
    """A built-in, its rows one table; the layer with one pool has no growing steps."""
    benchmark.group = request.param
    workload = DECODE if is_timed else DECODE_SWA
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield Target(BUILTINS[request.param], ROOT, workload, torch.device("cpu"))
    torch.set_num_threads(num_threads)


@pytest.fixture
def num_steady(is_timed: bool) -> int:
    """As many steady steps as `oom-suite check --safety` makes, or one cycle."""
    return NUM_STEADY if is_timed else CYCLE


def _shadow(target: Target) -> CreepRun:
    return shadow_run(target, 6, lambda _hook: None, grows=False)


def test_real_steps(benchmark: BenchmarkFixture, target: Target, num_steady: int) -> None:
    """Every step is run."""
    benchmark.pedantic(real_run, (target, num_steady), rounds=1)


def test_the_verdict_on_real_steps(
    benchmark: BenchmarkFixture, target: Target, num_steady: int
) -> None:
    """Cycles are repeated in the allocator model."""
    run = real_run(target, num_steady)
    assert benchmark.pedantic(judged, (run, "cpu"), rounds=3).num_run >= num_steady


def test_fake_steps(benchmark: BenchmarkFixture, target: Target) -> None:
    """Eighteen steps, with fake tensors."""
    # Once before, so that torch has loaded what it loads with the first fake tensor.
    benchmark.pedantic(_shadow, (target,), rounds=3, warmup_rounds=1)
