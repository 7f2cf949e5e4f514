"""compute-sanitizer on the device: a planted over-read is found, and its healthy twin is clean."""

from __future__ import annotations

import pytest

from oom_suite.records.sanitizer import SanitizerOutcome
from oom_suite.sanitize import sanitize
from oom_suite.sanitize.run import find_tool

pytestmark = pytest.mark.oom_device

STEP = """
import torch
import triton
import triton.language as tl


@triton.jit
def add_up(source, target, num_values, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    values = tl.load(source + offsets, mask=offsets < num_values, other=0.0)
    tl.store(target, tl.sum(values))


def step(values):
    source = torch.ones(120, dtype=torch.float32, device="cuda")
    target = torch.empty(1, dtype=torch.float32, device="cuda")
    add_up[(1,)](source, target, values, BLOCK=1024)
    return target


def reads_too_far(**arguments):
    arguments["output"].zero_()
    step(1024)


def reads_what_is_there(**arguments):
    arguments["output"].zero_()
    step(120)
"""


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """The file of both steps."""
    if find_tool() is None:
        pytest.skip("compute-sanitizer is not installed")
    pytest.importorskip("triton")
    path = tmp_path_factory.mktemp("steps") / "steps.py"
    path.write_text(STEP)
    return path


def test_an_over_read_is_found(subject):
    """Memcheck names the kernel, and how far behind the allocation it read."""
    found = sanitize(f"{subject}:reads_too_far", time_limit_s=300.0)
    assert SanitizerOutcome.FOUND is found.outcome, found.reason
    assert "sanitizer-out-of-bounds" in {hit.kind for hit in found.hits}
    assert any("add_up" in hit.text for hit in found.hits)


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_the_healthy_twin_is_clean(subject, tool):
    """The mask ends where the allocation does."""
    found = sanitize(f"{subject}:reads_what_is_there", tool=tool, time_limit_s=300.0)
    assert SanitizerOutcome.CLEAN is found.outcome, found.reason
