"""Both regressions of the sixty commits, found by both searches, each as processes of its own.

A push runs one search for each (tests/integration/test_bisect.py); `tox -e nightly` runs all.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from fixtures.commits import NUM_COMMITS, POOL, TOKENS, git, repository_of
from oom_suite.subjects.families.vllm import VLLM
from oom_suite.workloads.sparse_mla.workload import DECODE

FIRST = f"HEAD~{NUM_COMMITS - 1}"
SUITE = (sys.executable, "-m", "oom_suite")
OPTIONS = ("decode.py:decode", "--scenario", "small", "--time-limit", "10")

LAW = """\
import torch
from oom_suite import memory_law


@memory_law(axes={"pool": 64, "tokens": 4}, independent_of="pool", measure=False, host=False)
def test_pool(sizes, device):
    pool = torch.empty(sizes.pool, 8, device=device)
    rows = torch.zeros(sizes.tokens, dtype=torch.int64, device=device)
    return lambda: pool.double()[rows]
"""


@pytest.mark.parametrize(
    ("axis", "number", "added"),
    [("num_tokens", TOKENS, "+    pairs = "), ("num_blocks", POOL, "+    seen = ")],
    ids=["tokens", "pool"],
)
@pytest.mark.parametrize("tool", ["git bisect run", "oom-suite bisect"])
def test_each_search_ends_at_the_commit_that_grew(sixty_commits, tool, axis, number, added):
    """With its law and the diff of the guilty line, over commits that fail to import or hang."""
    if tool == "git bisect run":
        git(sixty_commits, "bisect", "start", "HEAD", FIRST)
        said = git(sixty_commits, "bisect", "run", *SUITE, "probe", *OPTIONS, "--axis", axis)
        planted = git(sixty_commits, "rev-parse", f":/^commit {number}$").strip()
        assert f"{planted} is the first bad commit" in said
    else:
        words = ("bisect", *OPTIONS, "--axis", axis, "--repo", str(sixty_commits), "--good", FIRST)
        done = subprocess.run(
            [*SUITE, *words], cwd=sixty_commits.parent, capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, done.stderr
        said = done.stdout
        assert f" commit {number}\n" in said.partition("first bad commit: ")[2]
    assert added in said
    assert "  new      > " in said


def test_default_contract_finds_the_first_of_the_two(sixty_commits):
    """Without an axis the tokens' growth past the bound hides the pool's, which comes later."""
    words = ("bisect", *OPTIONS, "--repo", str(sixty_commits), "--good", FIRST)
    done = subprocess.run(
        [*SUITE, *words], cwd=sixty_commits.parent, capture_output=True, text=True, check=False
    )
    assert f" commit {TOKENS}\n" in done.stdout.partition("first bad commit: ")[2], done.stderr


def test_memory_law_is_a_question_for_commits(tmp_path):
    """Its verdict is the probe's, with law and line: the command that its failure prints."""
    (tmp_path / "test_law.py").write_text(LAW, encoding="utf-8")
    words = ("-m", "oom_suite", "probe", "--test", "test_law.py::test_pool")
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert 1 == done.returncode, done.stderr
    assert [
        "FAIL test_law.py::test_pool: peak grows with pool (64 bytes per pool)",
        "  law      64*pool + 64*tokens (peak 4.25 KiB)",
        "  blame    test_law.py:9 (<lambda>) 64 bytes per pool",
    ] == done.stdout.splitlines()


def test_processes_of_their_own_answer_git(tmp_path):
    """`git bisect run python -m oom_suite probe --test` ends at the commit that broke a test."""
    texts = [f"def test_is_small():\n    assert {number} < 2\n" for number in (1, 2, 3)]
    repository = repository_of(tmp_path / "tree", [{"test_it.py": text} for text in texts])
    git(repository, "bisect", "start", "HEAD", "HEAD~2")
    probe = (sys.executable, "-m", "oom_suite", "probe", "--test", "test_it.py::test_is_small")
    said = git(repository, "bisect", "run", *probe)
    planted = git(repository, "rev-parse", ":/commit 2").strip()
    assert f"{planted} is the first bad commit" in said
    assert "FAIL test_it.py::test_is_small: AssertionError: assert 2 < 2" in said


@pytest.mark.oom_registry
def test_release_is_found_and_then_its_commit(tmp_path):
    """From a tag on a release's own branch: the commits since the last one that both have."""
    path = VLLM.entry(DECODE).file
    trees = [VLLM.fetch(version) / path for version in ("0.21.0", "0.22.0")]
    then, now = (tree.read_text(encoding="utf-8") for tree in trees)
    texts = [then, f"{then}# a comment\n", now, f"{now}# a comment\n"]
    tree = repository_of(tmp_path / "vllm", [{path: text} for text in texts])
    git(tree, "tag", "v0.22.0", "HEAD")
    git(tree, "checkout", "-q", "-b", "branch", "HEAD~3")
    git(tree, "commit", "-q", "--allow-empty", "-m", "cut")
    git(tree, "tag", "v0.21.0")
    words = ("bisect", "--bad", "vllm==0.21.0", "--good", "vllm==0.22.0", "--repo", str(tree))
    done = subprocess.run(
        [*SUITE, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    releases, _, commits = done.stdout.partition("first good release: vllm==0.22.0\n")
    assert "vllm==0.21.0, the bad end" in releases
    assert " commit 3\n" in commits.partition("first good commit: ")[2]
