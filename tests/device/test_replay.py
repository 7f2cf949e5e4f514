"""Headrooms on the GPU, the out-of-memory of the issue in one, and the fixes beside it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from packaging.version import Version

from fixtures.processes import runs_of
from oom_suite.pipeline.replay import Plan, replay
from oom_suite.pipeline.settings import Settings
from oom_suite.records.replay import End, Role
from oom_suite.subjects.families.cache import cache_folder, entry, is_whole
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.tracing.measure.ballast import GRANULE_BYTES
from oom_suite.tracing.measure.headroom import headroom
from oom_suite.units import GIB, MIB, format_bytes
from oom_suite.workloads.sparse_mla.geometry.scenarios import ISSUE_41962, SMALL, resize

pytestmark = pytest.mark.oom_device

ASKED_BYTES = 14_538_440_704
FIXES = ("block_compaction", "token_gather", "streaming")
HANGS = """
import os, time
from torch._subclasses.fake_tensor import FakeTensor

def hangs(q, **step):
    if not isinstance(q, FakeTensor):
        open("running", "w").close()
        time.sleep(3600)
"""


@pytest.fixture
def free_bytes(oom_device):
    """`free_bytes()`: what the driver says is free; afterwards it must be as before."""

    def now():
        return torch.cuda.mem_get_info(oom_device)[0]

    # What the driver keeps for kernels is there before, and is nobody's leak.
    torch.ones(1, device=oom_device).sum(dtype=torch.float64).item()
    torch.cuda.synchronize(oom_device)
    torch.cuda.empty_cache()
    before_bytes = now()
    yield now
    torch.cuda.empty_cache()
    assert abs(before_bytes - now()) < GRANULE_BYTES


@pytest.mark.parametrize("asked_bytes", [100 * MIB, GIB, ISSUE_41962.free_bytes], ids=format_bytes)
def test_ballast_leaves_what_was_asked(oom_device, free_bytes, asked_bytes):
    """To within a granule of the driver, past the allocator's counters and its empty_cache."""
    reserved_bytes = torch.cuda.memory_reserved(oom_device)
    with headroom(oom_device, asked_bytes, "ballast") as left:
        torch.cuda.empty_cache()
        assert left.free_bytes == free_bytes()
        assert 0 <= free_bytes() - asked_bytes < GRANULE_BYTES
        assert reserved_bytes == torch.cuda.memory_reserved(oom_device)


@pytest.mark.parametrize(("by", "served_bytes"), [("ballast", GIB // 2), ("limit", GIB)])
def test_the_headroom_is_enough_and_more_is_refused(oom_device, free_bytes, by, served_bytes):
    """A limit serves all of it. Of what the driver calls free it keeps some to itself."""
    with headroom(oom_device, GIB, by):
        held = torch.empty(served_bytes, dtype=torch.uint8, device=oom_device)
        del held
        torch.cuda.empty_cache()
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(GIB + 2 * GRANULE_BYTES, dtype=torch.uint8, device=oom_device)


@pytest.mark.parametrize("by", ["ballast", "limit"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, KeyboardInterrupt])
def test_the_device_is_restored_after_an_error(oom_device, free_bytes, by, error):
    """What did not fit fits again, and no error of the driver is left behind."""
    with contextlib.suppress(error), headroom(oom_device, GIB, by):
        if error is KeyboardInterrupt:
            raise KeyboardInterrupt
        torch.empty(4 * GIB, dtype=torch.uint8, device=oom_device)
    held = torch.ones(GIB, device=oom_device)
    assert int(held.sum(dtype=torch.float64)) == GIB
    del held


def plan(device, subjects, by, folder):
    settings = Settings("issue-41962", ISSUE_41962.sizes, lane="measure", device=str(device))
    return Plan(
        settings, ISSUE_41962.summary, ISSUE_41962.free_bytes, by, tuple(subjects), str(folder)
    )


@pytest.mark.parametrize(
    ("culprit", "by"), [("full_dequant", "limit"), ("vllm==0.21.0", "ballast")]
)
def test_the_issue_as_it_was_reported(oom_device, free_bytes, tmp_path, culprit, by):
    """13.54 GiB in one request is refused, in torch's own words; every fix runs."""
    releases = () if culprit == "full_dequant" else ("vllm==0.33.0",)
    for name in (culprit, *releases):
        version = name.partition("==")[2]
        if version and not is_whole(entry(cache_folder("vllm"), Version(version))):
            where = cache_folder("vllm")
            pytest.skip(f"{name} is not in {where}; `oom-suite check {name}` puts it there")
    story = replay(plan(oom_device, (culprit, *FIXES, *releases), by, tmp_path))
    assert (0, "") == (story.exit_code, story.cannot), story.to_json()
    (died,) = story.of(Role.CULPRIT)
    failed = died.out_of_memory
    assert "out of memory. Tried to allocate 13.54 GiB. GPU 0" in failed.message
    assert ("of which 12.74 GiB is free" in failed.message) is (by == "ballast")
    assert ("allowed; " in failed.message) is (by == "limit")
    assert ASKED_BYTES == failed.requested_bytes == died.predicted.request_bytes
    assert failed.stack[0] == died.predicted.where
    snapshot = pickle.loads(Path(failed.snapshot).read_bytes())
    assert "oom" in {step["action"] for trace in snapshot["device_traces"] for step in trace}
    for fix in story.of(Role.FIX):
        assert fix.end is End.RAN
        assert fix.peak_bytes == fix.predicted.peak_bytes
        assert fix.taken_bytes < 64 * MIB


@pytest.mark.parametrize("by", ["ballast", "limit"])
def test_after_an_out_of_memory_the_same_process_runs_on(oom_device, free_bytes, by):
    """The tensors that the error held are let go: the next call has the whole headroom."""
    headroom = {"headroom_bytes": ISSUE_41962.free_bytes, "headroom_by": by}
    lane = LaneSpec("measure", device=str(oom_device), **headroom)
    with runs_of("full_dequant", lane=lane, time_limit_s=180.0) as runs:
        (failed,) = runs.measured(ISSUE_41962.sizes)
        (ran,) = runs.measured(resize(SMALL.sizes, {"num_blocks": 40_000}))
        (again,) = runs.measured(ISSUE_41962.sizes)
    assert ran.measurement.out_of_memory is None
    assert ran.peak().num_bytes > 4 * GIB
    for trace in (failed, again):
        assert ASKED_BYTES == trace.measurement.out_of_memory.requested_bytes


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_gives_the_memory_back(oom_device, free_bytes, tmp_path):
    """Ctrl-C while the ballast is held: the child dies, and the driver frees what it had."""
    (tmp_path / "s.py").write_text(HANGS, encoding="utf-8")
    before_bytes = free_bytes()
    words = ("replay", "issue-41962", "s.py:hangs", "--device", str(oom_device))
    run = subprocess.Popen(
        [sys.executable, "-m", "oom_suite", *words, "--set", "num_blocks=64"],
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        wait_for((tmp_path / "running").exists)
        started = psutil.Process(run.pid).children(recursive=True)
        assert free_bytes() < ISSUE_41962.free_bytes + GIB
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=60) == 130
        wait_for(lambda: not any(one.is_running() and one.status() != "zombie" for one in started))
        wait_for(lambda: abs(before_bytes - free_bytes()) < GRANULE_BYTES)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


def wait_for(is_so, limit_s=120):
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)
