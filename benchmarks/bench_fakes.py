"""Time for shadow runs, with the suite's fake tensors and with torch's own, in one run.

Compare the rows as ratios; machines differ. A law's runs are of both kinds: sizes that were met
before, and sizes that are new. The subject is `token_gather`, on a layer with both pools.

Run by itself, this file prints the ratio for a whole law, found in a fresh process each time as a
child finds it: ``python benchmarks/bench_fakes.py``.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from oom_suite.laws.derive import derive
from oom_suite.tracing import shadow
from oom_suite.tracing.fake_mode import LaneFakeMode
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.geometry.scenarios import ISSUE_41962
from oom_suite.workloads.sparse_mla.step import build
from oom_suite.workloads.sparse_mla.workload import DECODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_benchmark.fixture import BenchmarkFixture

KINDS = ("quick", "torch")
_NUM_PROCESSES = 5


def _torch_mode() -> LaneFakeMode:
    return LaneFakeMode()


def _step(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
    arguments = build(sizes, device)
    return torch.no_grad()(lambda: BUILTINS["token_gather"](**arguments))


@pytest.fixture(params=KINDS)
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ShadowLane:
    """A lane with either kind of fakes, after its first run."""
    if request.param == "torch":
        monkeypatch.setattr(shadow, "QuickFakeMode", _torch_mode)
    made = ShadowLane(Path("/"))
    made.run(_step, ISSUE_41962.sizes)
    return made


def test_a_run_at_known_sizes(benchmark: BenchmarkFixture, lane: ShadowLane) -> None:
    """Every operator was called with these sizes before."""
    benchmark.pedantic(lane.run, args=(_step, ISSUE_41962.sizes), rounds=20)


def test_a_run_at_new_sizes(benchmark: BenchmarkFixture, lane: ShadowLane) -> None:
    """Nearly every operator meets its sizes for the first time."""
    numbers = itertools.count(100)

    def arguments() -> tuple[tuple[object, object], dict[str, object]]:
        return (_step, {**ISSUE_41962.sizes, "num_tokens": next(numbers)}), {}

    benchmark.pedantic(lane.run, setup=arguments, rounds=10)


def test_a_law(benchmark: BenchmarkFixture, lane: ShadowLane) -> None:
    """The law by finite differences; the first round alone meets its sizes for the first time."""
    benchmark.pedantic(
        derive, args=(lambda sizes: lane.run(_step, sizes), DECODE, ISSUE_41962.sizes), rounds=3
    )


def _cold_law(kind: str) -> float:
    """CPU seconds for a law in this process, in which only one other run was made before."""
    if kind == "torch":
        vars(shadow)["QuickFakeMode"] = _torch_mode
    made = ShadowLane(Path("/"))
    made.run(_step, {**ISSUE_41962.sizes, "num_tokens": 3})
    start = time.process_time()
    derive(lambda sizes: made.run(_step, sizes), DECODE, ISSUE_41962.sizes)
    return time.process_time() - start


def _in_fresh_process(kind: str) -> float:
    command = [sys.executable, __file__, kind]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _ratio() -> None:
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(_NUM_PROCESSES):
        for kind in KINDS:
            taken[kind].append(_in_fresh_process(kind))
    quick_s, torch_s = (statistics.median(taken[kind]) for kind in KINDS)
    print(f"a law: {torch_s:.2f} s with torch's fakes, {quick_s:.2f} s with the suite's")
    print(f"torch / suite: {torch_s / quick_s:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(_cold_law(sys.argv[1]))
    else:
        _ratio()
