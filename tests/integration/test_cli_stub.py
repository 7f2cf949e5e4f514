"""`--stub` and `--package`: code that its packages are missing for, and forks of vLLM's tree."""

from __future__ import annotations

import json

import pytest

from oom_suite.workloads.sparse_mla.workload import CONVENTION, VLLM_ENTRY

KEYWORDS = ", ".join(CONVENTION.keywords)
GROWS = "swa_k_cache.float()"

FILE = f"""
import made_up_kernels
from made_up_kernels.ops import fused

@made_up_kernels.registered
class Registered(made_up_kernels.Base): pass

def grows({KEYWORDS}): {GROWS}
def uses({KEYWORDS}): fused(q)
"""
FORK = f"""
import torch
from vllm.platforms import current_platform
from vllm_fork.envs import SOMETHING
def rocm_sparse_attn_decode({KEYWORDS}): {GROWS} if current_platform.is_rocm() else None
"""


@pytest.fixture
def check(tmp_path, suite):
    """A function that checks a file or a fork, and gives the exit code, and the result."""
    (tmp_path / "s.py").write_text(FILE, encoding="utf-8")
    fork = tmp_path / VLLM_ENTRY.file.replace("vllm/", "vllm_fork/", 1)
    fork.parent.mkdir(parents=True)
    fork.write_text(FORK, encoding="utf-8")

    def check(*words):
        options = ("--workload", "decode-swa", "--scenario", "small", "--json", "out.json")
        done = suite("check", *words, *options)
        (result,) = json.loads((tmp_path / "out.json").read_text("utf-8"))["results"]
        return done.returncode, result

    return check


def test_a_file_is_judged_without_the_package_that_it_imports(check):
    """Its own lines are blamed, and the next command has the option too."""
    code, result = check("s.py:grows", "--stub", "made_up_kernels")
    assert (1, "FAIL", "149504*swa_num_blocks") == (code, result["verdict"], result["law"]["text"])
    assert ("s.py", "grows") == (result["blame"][0]["file"], result["blame"][0]["function"])
    expected = "git bisect run oom-suite probe s.py:grows --stub made_up_kernels"
    assert result["next_command"].startswith(expected)


def test_without_the_option_the_error_names_it(check):
    """Whoever misses the package learns what to add."""
    code, result = check("s.py:grows")
    assert (3, "INCONCLUSIVE") == (code, result["verdict"])
    assert result["reason"].endswith("have it replaced by stubs (--stub made_up_kernels)")


def test_code_that_needs_the_real_package_is_not_judged(check):
    """The stub that the call used is named."""
    code, result = check("s.py:uses", "--stub", "made_up_kernels")
    assert (3, "INCONCLUSIVE") == (code, result["verdict"])
    assert "uses `made_up_kernels.ops.fused()`, which the suite only stubs" in result["reason"]


def test_a_fork_is_judged_under_its_own_package(check):
    """Its file is the one that is blamed."""
    code, result = check("vllm@.", "--package", "vllm_fork")
    assert (1, "149504*swa_num_blocks") == (code, result["law"]["text"])
    assert result["blame"][0]["file"].startswith("vllm_fork/v1/attention/ops/")
    assert "vllm@. --package vllm_fork" == result["subject"]


def test_without_the_package_the_error_says_so(check):
    """A folder without vLLM may be a fork's."""
    code, result = check("vllm@.")
    assert (3, "INCONCLUSIVE") == (code, result["verdict"])
    assert "--package for a fork that is laid out as another package" in result["reason"]


def test_an_option_that_means_nothing_is_refused(tmp_path, suite):
    """It is bad usage, and nothing is run."""
    done = suite("check", "full_dequant", "--stub", "torch")
    assert (2, "") == (done.returncode, done.stdout)
    assert "--stub torch means nothing for full_dequant" in done.stderr
