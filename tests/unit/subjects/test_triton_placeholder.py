from __future__ import annotations

import sys

import pytest

from oom_suite.errors import StubUsedError
from oom_suite.subjects import load as load_subject
from oom_suite.subjects import parse
from oom_suite.subjects.families.vllm import triton_placeholder
from oom_suite.workloads.sparse_mla.workload import DECODE

KERNELS = """
from vllm.triton_utils import tl, triton

@triton.jit
def plain(x, BLOCK: tl.constexpr): pass

@triton.autotune(configs=[triton.Config({"BLOCK": 16}, num_warps=4)], key=["x"])
@triton.heuristics({"EVEN": lambda args: True})
@triton.jit(do_not_specialize=["x"])
def tuned(x, dtype: tl.dtype = tl.float32): pass

def helper():
    return triton.cdiv(5, 2), triton.next_power_of_2(5), triton.next_power_of_2(8)
"""


@pytest.fixture
def load(make_tree, keywords, monkeypatch):
    """A function that loads a decode entry with this body where Triton is not installed."""
    monkeypatch.setitem(sys.modules, "triton", None)

    def load(body):
        entry = f"def rocm_sparse_attn_decode({keywords}):\n    {body}\n"
        return load_subject(parse(f"vllm@{make_tree(KERNELS + entry)}"), DECODE)

    return load


@pytest.fixture
def launches():
    """The launches told to the hook."""
    seen = []
    before = triton_placeholder.set_on_launch(lambda name, values: seen.append((name, values)))
    yield seen
    triton_placeholder.set_on_launch(before)


@pytest.fixture
def no_hook():
    """What a worker of another test in this process may have set is put aside."""
    before = triton_placeholder.set_on_launch(None)
    yield
    triton_placeholder.set_on_launch(before)


@pytest.mark.usefixtures("no_hook")
def test_a_launch_without_a_hook_is_an_error_that_says_what_to_install(load, step):
    """A kernel cannot run without Triton, and nothing pretends it did."""
    with pytest.raises(StubUsedError, match=r"triton\.jit\(plain\).*install it"):
        load("plain[(1,)](q)").call(**step)


@pytest.mark.parametrize("kernel", ["plain", "tuned"])
def test_a_launch_is_told_to_the_hook(load, step, launches, kernel):
    """A lane that records launches hears the name and the arguments, whatever the decorators."""
    load(f"{kernel}[lambda meta: (1,)](1, BLOCK=2)").call(**step)
    assert [(kernel, [1, 2])] == launches


def test_a_kernel_is_not_called_like_a_function(load, step, launches):
    """A call without a grid is an error in Triton too."""
    with pytest.raises(StubUsedError, match="plain"):
        load("plain(q)").call(**step)


def test_the_host_arithmetic_is_real(load, step):
    """Grids are computed as Triton would."""
    assert (3, 8, 8) == load("return helper()").call(**step)


def test_the_rest_of_triton_is_stubbed(load, step):
    """A use of anything else names it."""
    with pytest.raises(StubUsedError, match=r"triton\.runtime"):
        load("return triton.runtime.driver.active.get_current_device()").call(**step)
