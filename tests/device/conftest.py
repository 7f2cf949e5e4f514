"""The GPU, and what a subject asks of it: one call in a child of its own, in either lane."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from oom_suite.children import PRELOAD
from oom_suite.geometry.scenarios import SMALL, resize
from oom_suite.lanes.isolation import Child
from oom_suite.plugin import OPTIONS
from oom_suite.records import Job
from oom_suite.subjects.spec import SubjectKind, parse
from oom_suite.subjects.vllm.cache import cache_folder, entry, is_whole
from oom_suite.workloads.catalog import workload as find_workload

TIME_LIMIT_S = 180.0


def _root(spec):
    """The tree of a release that is on this machine already; a device often has no network."""
    if spec.kind is not SubjectKind.VLLM_RELEASE:
        return None
    from packaging.version import Version

    tree = entry(cache_folder(), Version(spec.version))
    if not is_whole(tree):
        pytest.skip(f"{spec.text} is not in {tree.parent}; `oom-suite check {spec.text}` puts it")
    return str(tree)


@pytest.fixture(scope="session")
def oom_device(pytestconfig):
    """The GPU of ``--oom-device``, else the first there is, whatever the rest of the run is on."""
    import torch

    device = pytestconfig.stash[OPTIONS].device or ""
    return torch.device(device if device.startswith("cuda:") else "cuda:0")


@pytest.fixture(scope="module")
def trace_of(oom_device):
    """`trace_of(subject, workload, lane, scratch, **sizes)`; a child for each but the sizes."""
    children = {}
    with ExitStack() as stack:

        def trace(subject, workload, lane, scratch="", **overrides):
            key = (subject, workload, lane, scratch)
            if key not in children:
                spec = parse(subject)
                job = Job(
                    subject=spec.text,
                    root=_root(spec),
                    builder=find_workload(workload).builder,
                    lane=lane,
                    device=str(oom_device),
                    arch="generic",
                    scratch=scratch,
                )
                child = Child(
                    "oom_suite.worker:make_handler",
                    (job,),
                    time_limit_s=TIME_LIMIT_S,
                    preload=PRELOAD,
                    needs_gpu=lane == "measure",
                )
                children[key] = stack.enter_context(child)
            return children[key].ask(resize(SMALL.sizes, overrides))

        yield trace
