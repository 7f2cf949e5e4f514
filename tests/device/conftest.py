"""The GPU, and what subjects ask of it: calls in children, many children at once.

A child that starts CUDA costs seconds. So children start side by side wherever they can; what
must be alone on the GPU (meters, headrooms, exact measuring) is asked for one at a time.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from subject_trees import is_here, skip_unless_here

from fixtures.processes import runs_of
from oom_suite.doors import workload as find_workload
from oom_suite.processes.child import ChildError
from oom_suite.pytest_plugin import OPTIONS
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL, resize

TIME_LIMIT_S = 60.0


@pytest.fixture(scope="session")
def oom_device(pytestconfig):
    """The GPU of ``--oom-device``, else the first there is, whatever the rest of the run is on."""
    import torch

    device = pytestconfig.stash[OPTIONS].device or ""
    return torch.device(device if device.startswith("cuda:") else "cuda:0")


@pytest.fixture(scope="session")
def ran_beside(request, oom_device):
    """`ran_beside(module)`: what its ``run_beside(device)`` gives.

    The functions of all files of this run are called at once and waited for, so that the GPU is
    free again for what must be alone. A worker of pytest-xdist runs those of its own files.
    """
    running = {}

    def result(module):
        if module.__name__ not in running:
            files = {module.__name__: module}
            if "PYTEST_XDIST_WORKER" not in os.environ:
                modules = {getattr(item, "module", module) for item in request.session.items}
                files |= {one.__name__: one for one in modules}
            wanted = {name: one for name, one in files.items() if hasattr(one, "run_beside")}
            with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
                for name, one in wanted.items():
                    running[name] = pool.submit(one.run_beside, oom_device)
        return running[module.__name__].result()

    return result


@pytest.fixture(scope="module")
def answers(request, ran_beside):
    """What this file's ``run_beside`` gives."""
    return ran_beside(request.module)


@pytest.fixture(scope="module")
def trace_of(oom_device):
    """`trace_of(subject, workload, lane, scratch, **sizes)`; a child for each subject and lane.

    `trace_of.start(subjects)` starts the measuring children of these at once.
    """
    with ExitStack() as stack:
        yield TraceOf(oom_device, stack)


class TraceOf:
    """Asks children of either lane for a call's trace, and keeps them for the next call."""

    def __init__(self, device, stack):
        self._lane = LaneSpec("measure", device=str(device))
        self._stack = stack
        self._runs = {}

    def start(self, subjects):
        """Start measuring each of these that is on this machine, and have it make one call."""
        runs = [self._of(one) for one in subjects if is_here(one)]
        first = resize(SMALL.sizes, {"num_blocks": 64})
        for one in runs:
            one.begin_measuring()
        with ThreadPoolExecutor(max_workers=len(runs)) as pool:
            for running in [pool.submit(one.measured, first) for one in runs]:
                # The next call meets the same, in the test that asks for it.
                with contextlib.suppress(ChildError):
                    running.result()

    def __call__(self, subject, workload, lane, scratch="", **overrides):
        """The trace of one call."""
        skip_unless_here(subject)
        sizes = resize(SMALL.sizes, overrides)
        runs = self._of(subject).with_workload(find_workload(workload))
        if lane == "shadow":
            return runs.known(sizes, scratch)
        (trace,) = runs.measured(sizes)
        return trace

    def _of(self, subject):
        if subject not in self._runs:
            context = runs_of(subject, lane=self._lane, time_limit_s=TIME_LIMIT_S)
            self._runs[subject] = self._stack.enter_context(context)
        return self._runs[subject]
