"""The kernels are compiled by the Triton that is here, for GPUs that are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oom_suite.workloads.sparse_mla.kernels import hopper

PROGRAM = Path(__file__).with_name("compiled.py")
REPOSITORY = Path(__file__).parents[4]
SHARED_OF_A_PROGRAM = 227 * 1024


@pytest.fixture(scope="module")
def triton():
    """The package. tox installs it, so CI skips nothing here; macOS and Windows have none."""
    return pytest.importorskip("triton", reason="needs the extra `triton`")


@pytest.fixture(scope="module")
def found(triton):
    """What the program writes, which is skipped without it."""
    del triton
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("kernel", ["gather_sparse_kernel", "gather_dense_kernel"])
def test_rows_are_the_one_thing_in_shared_memory(found, kernel):
    """64 bytes and four rows: the copies out of it count from where it begins."""
    assert [64 + 4 * 1024, True] == found[kernel]


@pytest.mark.parametrize("size", [64, 2])
@pytest.mark.parametrize("programs", [1, 8])
def test_a_decode_step_fits_a_core_and_reads_others_where_it_shares_a_token(found, programs, size):
    """At pages of both kinds of layer."""
    shared, reads_others = found[f"decode_kernel {programs} {size}"]
    assert shared <= SHARED_OF_A_PROGRAM
    assert reads_others is (programs > 1)


@pytest.mark.parametrize("arch", ["gfx942", "gfx950"])
@pytest.mark.parametrize(
    "kernel",
    [
        "gather_sparse_kernel",
        "gather_dense_kernel",
        "merge_kernel",
        "clear_kernel",
        "mark_kernel",
        "rank_kernel",
        "combine_kernel",
    ],
)
def test_on_amd_no_value_is_kept_in_memory_for_want_of_registers(found, kernel, arch):
    """By MI300's fp8 and by that of MI350: compiled, and not run."""
    registers, in_memory = found[f"{kernel} {arch}"]
    assert 0 < registers <= 128
    assert 0 == in_memory


@pytest.mark.parametrize(("arch", "most"), [("gfx942", 32), ("gfx950", 0)])
def test_on_amd_a_decode_step_of_16_heads_keeps_few_or_none(found, arch, most):
    """At all the registers that a thread can have."""
    registers, in_memory = found[f"decode_kernel {arch}"]
    assert registers <= 512
    assert in_memory <= most


@pytest.mark.parametrize(
    ("version", "is_known"),
    [("3.5.1", False), ("3.6.0", True), ("3.7.1+git1a2b3c4", True), ("3.8.0", False)],
)
def test_another_triton_takes_the_portable_kernels(monkeypatch, triton, version, is_known):
    """Its Gluon may have other names, and a kernel that does not compile serves nobody."""
    monkeypatch.setattr(triton, "__version__", version)
    assert is_known is hopper._has_gluon.__wrapped__()


def test_the_triton_that_is_here_is_known(triton):
    """Raise the bound where these tests pass."""
    assert hopper._TRITON.contains(triton.__version__, prereleases=True)
