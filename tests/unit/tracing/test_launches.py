"""Kernel launches in the shadow lane: recorded by name, never run, with Triton and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from oom_suite.tracing.launches import recorded_launches

REPOSITORY = Path(__file__).parents[3]


def scale_kernel(x, n, BLOCK):
    raise AssertionError("a kernel was run")


def wrapped(how):
    triton = pytest.importorskip("triton", reason="needs the extra `triton`")
    kernel = triton.jit(scale_kernel)
    if how in {"heuristics", "both"}:
        kernel = triton.heuristics({"BLOCK": lambda args: args["n"] * 2})(kernel)
    if how in {"autotune", "both"}:
        kernel = triton.autotune([triton.Config({"BLOCK": 4})], key=["n"])(kernel)
    return kernel


@pytest.mark.parametrize("how", ["jit", "heuristics", "autotune", "both"])
def test_a_launch_is_recorded_by_name_with_its_line(shadow, how):
    """However a kernel is wrapped, its launch is named, allocates nothing and runs nothing."""
    kernel = wrapped(how)
    block = {} if how != "jit" else {"BLOCK": 4}
    trace = shadow(
        lambda x: kernel[lambda meta: (1,)](x, n=4, **block),
        lambda device: (torch.empty(4, device=device),),
    )
    (launch,) = trace.launches
    assert ("scale_kernel", "test_launches.py") == (launch.kernel, launch.stack[0].file)
    assert () == trace.allocations


def test_the_arguments_come_by_position_and_by_keyword():
    """Everything that a kernel may write to is told."""
    kernel, seen = wrapped("jit"), []
    with recorded_launches(lambda name, arguments: seen.append((name, arguments))):
        kernel[(1,)]("first", n="second", BLOCK=4)
    ((name, arguments),) = seen
    assert "scale_kernel" == name
    assert {"first", "second"} <= {a for a in arguments if isinstance(a, str)}


def test_launches_are_triton_s_own_again_afterwards():
    """Nothing stays patched."""
    jit = pytest.importorskip("triton.runtime.jit")
    before = jit.JITFunction.run
    with recorded_launches(lambda name, arguments: None):
        assert before is not jit.JITFunction.run
    assert before is jit.JITFunction.run


def test_a_compilation_ahead_of_time_is_no_launch():
    """Warming a kernel up launches nothing."""
    kernel, seen = wrapped("jit"), []
    with recorded_launches(lambda name, arguments: seen.append(name)):
        kernel.warmup(torch.float32, n=4, BLOCK=4, grid=(1,))
    assert [] == seen


DECODE = """
import torch
from vllm.platforms import current_platform
from vllm.triton_utils import tl, triton


@triton.jit
def gather_kernel(q, output, BLOCK: tl.constexpr):
    pass


def rocm_forward_decode_fallback(
    q, kv_cache, swa_k_cache, swa_only, topk_indices, topk_lens, swa_indices, swa_lens,
    attn_sink, scale, head_dim, nope_head_dim, rope_head_dim, output,
):
    scores = torch.empty(q.shape, dtype=torch.float32, device=q.device)
    gather_kernel[(q.shape[0],)](q, scores, BLOCK=triton.next_power_of_2(q.shape[1]))
    output.copy_(scores)
"""

RUN = """
import json, sys
sys.modules["triton"] = None
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL
from oom_suite.pipeline.programs import Run, SubjectProgram
from oom_suite.processes.askers import InThisProcess
from oom_suite.subjects import parse
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.workloads.sparse_mla.workload import DECODE
program = SubjectProgram(parse("vllm@" + sys.argv[1]), DECODE)
trace = InThisProcess().ask(Run(program, LaneSpec("shadow"), SMALL.sizes))
print(json.dumps([[l.kernel, l.stack[0].line] for l in trace.launches]))
print(len(trace.allocations))
"""


def test_vllm_s_kernels_are_recorded_without_triton(tmp_path):
    """Where Triton is not installed, the launches of vLLM's code are named all the same."""
    file = tmp_path / "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py"
    file.parent.mkdir(parents=True)
    file.write_text(DECODE)
    (tmp_path / "vllm/_version.py").write_text("__version__ = version = '9.9.9'\n")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
    )
    line = DECODE.splitlines().index(next(x for x in DECODE.splitlines() if "[(q." in x)) + 1
    assert f'[["gather_kernel", {line}]]\n1\n' == done.stdout, done.stderr
