"""compute-sanitizer on the device: a planted over-read is found, and its healthy twin is clean."""

from __future__ import annotations

import importlib.util
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oom_suite.sanitizers.record import SanitizerOutcome
from oom_suite.sanitizers.run import find_tool, sanitize

pytestmark = pytest.mark.oom_device

TOOLS = ("memcheck", "racecheck", "synccheck")
RUNS = (("reads_too_far", "memcheck"), *(("reads_what_is_there", tool) for tool in TOOLS))
LIMIT_S = 120.0
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


def run_beside(device):
    """What each tool said of each step, by both; nothing where there is no tool."""
    if find_tool() is None or importlib.util.find_spec("triton") is None:
        return {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(RUNS)) as pool:
        path = Path(folder) / "steps.py"
        path.write_text(STEP, encoding="utf-8")
        running = {
            (function, tool): pool.submit(
                sanitize, f"{path}:{function}", tool=tool, time_limit_s=LIMIT_S
            )
            for function, tool in RUNS
        }
        return {key: one.result() for key, one in running.items()}


@pytest.fixture
def found(answers):
    """What was found, by step and tool."""
    if not answers:
        pytest.skip("compute-sanitizer or Triton is not installed")
    return answers


def test_an_over_read_is_found(found):
    """Memcheck names the kernel, and how far behind the allocation it read."""
    over = found["reads_too_far", "memcheck"]
    assert SanitizerOutcome.FOUND is over.outcome, over.reason
    assert "sanitizer-out-of-bounds" in {hit.kind for hit in over.hits}
    assert any("add_up" in hit.text for hit in over.hits)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_healthy_twin_is_clean(found, tool):
    """The mask ends where the allocation does."""
    healthy = found["reads_what_is_there", tool]
    assert SanitizerOutcome.CLEAN is healthy.outcome, healthy.reason
