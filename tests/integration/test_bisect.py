"""Bisection over commits of a made-up tree, and over the real releases."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

DECODE_FILE = "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py"
HEALTHY = """
import torch


def rocm_forward_decode_fallback(
    q, kv_cache, swa_k_cache, swa_only, topk_indices, topk_lens, swa_indices, swa_lens,
    attn_sink, scale, head_dim, nope_head_dim, rope_head_dim, output,
):
    rows = swa_k_cache.flatten(0, 1)[swa_indices.flatten().long()]
    output.copy_(rows.float().mean())
"""
FAULTY = HEALTHY.replace(
    "    rows =",
    "    seen = torch.zeros(swa_k_cache.shape[0], dtype=torch.bool, device=q.device)\n    rows =",
)
BROKEN = "import torch\nraise RuntimeError('half a commit')\n"


def git(folder, *words):
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def history(tmp_path):
    """A repository of seven commits: the fifth plants growth with the pool, the third is broken."""
    if shutil.which("git") is None:
        pytest.fail("git is needed to test `git bisect run`")
    repository = tmp_path / "tree"
    file = repository / DECODE_FILE
    file.parent.mkdir(parents=True)
    git(tmp_path, "init", "-q", str(repository))
    for number, source in enumerate([HEALTHY, HEALTHY, BROKEN, HEALTHY, FAULTY, FAULTY, FAULTY]):
        file.write_text(f"# {number}\n{textwrap.dedent(source)}", encoding="utf-8")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", f"commit {number}")
    return repository


def test_git_bisect_run_finds_the_planted_commit(history):
    """`git bisect run oom-suite probe vllm@.` names the commit that planted the growth."""
    git(history, "bisect", "start", "HEAD", "HEAD~6")
    said = git(
        history,
        "bisect",
        "run",
        sys.executable,
        "-m",
        "oom_suite",
        "probe",
        "vllm@.",
        "--scenario",
        "small",
    )
    planted = git(history, "rev-parse", ":/commit 4").strip()
    assert f"{planted} is the first bad commit" in said


@pytest.mark.parametrize(
    ("source", "code", "word"),
    [(HEALTHY, 0, "PASS"), (FAULTY, 1, "FAIL"), (BROKEN, 125, "INCONCLUSIVE")],
    ids=["good", "bad", "broken"],
)
def test_probe_answers_git_bisect(tmp_path, suite, source, code, word):
    """A probe exits 0 for good, 1 for bad, 125 for what cannot be judged; a line a workload."""
    file = tmp_path / DECODE_FILE
    file.parent.mkdir(parents=True)
    file.write_text(source, encoding="utf-8")
    done = suite("probe", "vllm@.", "--scenario", "small")
    assert (code, 2) == (done.returncode, len(done.stdout.splitlines())), done.stderr
    assert done.stdout.startswith(f"{word} vllm@. (decode): ")


@pytest.mark.oom_registry
def test_first_good_release_is_found_in_either_order(suite):
    """Between 0.21.0, bad, and 0.25.0, good, the first good release is 0.22.0."""
    done = suite("bisect", "--good", "vllm==0.25.0", "--bad", "vllm==0.21.0")
    assert 0 == done.returncode, done.stderr
    assert "first good: vllm==0.22.0 (last bad: vllm==0.21.0)" in done.stdout
    assert "- vllm==0.21.0: 65536*swa_num_blocks + 82048*extra_num_blocks" in done.stdout


@pytest.mark.oom_registry
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--good", "vllm==0.21.0", "--bad", "vllm==0.22.0"], "--bad vllm==0.22.0 is PASS"),
        (["--good", "vllm==0.25.0", "--bad", "vllm==0.20.2"], "is INCONCLUSIVE, not FAIL"),
        (["--good", "vllm==0.21.0", "--bad", "vllm==0.21.0"], "the same release"),
        (["--good", "vllm@.", "--bad", "vllm==0.21.0"], "is not a release"),
    ],
    ids=["swapped", "not-applicable", "same", "a-tree"],
)
def test_ends_that_are_not_as_claimed_are_refused(suite, words, said):
    """A bisection between ends that are not good and bad says so in one line, with exit code 2."""
    done = suite("bisect", *words)
    assert 2 == done.returncode
    (line,) = (x for x in done.stderr.splitlines() if not x.startswith("checked "))
    assert line.startswith("oom-suite: ")
    assert said in line
