"""Time for a shadow run, with the suite's fake tensors and with torch's own, in one run.

Compare the rows as ratios; machines differ. A law's runs are of both kinds: sizes that were met
before, and sizes that are new. The subject is `token_gather`, on a layer with both pools.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from oom_suite.tracing import shadow
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.geometry.scenarios import ISSUE_41962
from oom_suite.workloads.sparse_mla.step import build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_benchmark.fixture import BenchmarkFixture


def _torch_mode() -> FakeTensorMode:
    return FakeTensorMode(allow_non_fake_inputs=True)


def _step(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
    arguments = build(sizes, device)
    return torch.no_grad()(lambda: BUILTINS["token_gather"](**arguments))


@pytest.fixture(params=["quick", "torch"])
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
