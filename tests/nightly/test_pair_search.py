"""A search over two versions of torch, each in an environment that pip really makes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from oom_suite.pipeline.environments import is_here

BEFORE = "2.12.1"
DECODE = """\
import torch


def decode(swa_k_cache, swa_indices, output, **step):
    needed = swa_indices.flatten().long()
    if not torch.__version__.startswith("2.12."):
        swa_k_cache = swa_k_cache.float()
    output.copy_(swa_k_cache.flatten(0, 1)[needed].float().mean())
"""


@pytest.mark.oom_registry
@pytest.mark.skipif(is_here("torch", BEFORE), reason=f"torch {BEFORE} is the one that is here")
def test_torch_that_made_a_law_grow_is_found(tmp_path):
    """With the exact versions of both Pythons; the one that is here needs no environment."""
    here = torch.__version__.partition("+")[0]
    (tmp_path / "my_decode.py").write_text(DECODE, encoding="utf-8")
    words = ("my_decode.py:decode", "--workload", "decode-swa", "--scenario", "small")
    ends = ("--good", f"torch=={BEFORE}", "--bad", f"torch=={here}")
    done = subprocess.run(
        [sys.executable, "-m", "oom_suite", "bisect", *words, *ends],
        cwd=tmp_path,
        env={**os.environ, "OOM_SUITE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert f"first bad combination: torch=={here}\n" in done.stdout
    assert f"  the last good one: torch=={BEFORE}\n" in done.stdout
    assert f"torch {BEFORE}" in done.stdout
    assert "  + decode-swa: 149504*swa_num_blocks" in done.stdout
