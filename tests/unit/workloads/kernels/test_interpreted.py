"""Triton's kernels, interpreted on the CPU with its low-precision floats corrected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("interpreted.py")
REPOSITORY = Path(__file__).parents[4]


# One process runs all.
pytestmark = pytest.mark.xdist_group("interpreted-kernels")


@pytest.fixture(scope="module")
def done():
    """The program, run."""
    pytest.importorskip("triton", reason="needs the extra `triton`")
    return subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("what", ["gathers", "decodes", "prefills"])
def test_what_kernels_compute_is_what_torch_does(done, what):
    """Gathers and chunks to the bit; attention within what correct rounding may be off."""
    assert what in done.stdout.split(), done.stderr
