"""Both regressions of the sixty commits, found by both searches, each as processes of its own.

A push runs one search for each (tests/integration/test_bisect.py); `tox -e nightly` runs all.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from fixtures.commits import NUM_COMMITS, POOL, TOKENS, git

FIRST = f"HEAD~{NUM_COMMITS - 1}"
SUITE = (sys.executable, "-m", "oom_suite")
OPTIONS = ("decode.py:decode", "--scenario", "small", "--time-limit", "10")


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
