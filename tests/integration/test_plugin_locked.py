"""The option ``--oom-locked``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TERM = "2677*num_tokens*extra_topk"


@pytest.fixture
def gate(tmp_path):
    """Runs the gate on one built-in against a copy of the repository's lockfile, changed."""

    def run(replacement=TERM, *, file="laws.toml"):
        text = (ROOT / "oom-laws.toml").read_text("utf-8")
        (tmp_path / "laws.toml").write_text(text.replace(TERM, replacement), encoding="utf-8")
        words = ["tests/gate", "-q", "-p", "no:cacheprovider", "-k", "not swa"]
        options = ["--oom-subject=token_gather", f"--oom-locked={tmp_path / file}"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *words, *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_law_as_locked_passes(gate):
    """The contract and the lockfile are both kept."""
    done = gate()
    assert 0 == done.returncode, done.stdout
    assert "2 passed" in done.stdout


def test_a_coefficient_one_larger_than_locked_fails(gate):
    """One byte more for each gathered slot is growth; the failure names the term and its line."""
    done = gate("2676*num_tokens*extra_topk")
    assert 1 == done.returncode
    assert "the term 2677*num_tokens*extra_topk (locked: 2676)" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_a_missing_lockfile_stops_the_run_before_collection(gate):
    """One line, with the option and the file."""
    done = gate(file="absent.toml")
    assert 4 == done.returncode
    assert "--oom-locked: no lockfile" in done.stderr


def test_without_it_no_law_is_held_to_a_lockfile():
    """The lockfile's tests are left out, not skipped."""
    words = [sys.executable, "-m", "pytest", "tests/gate", "--collect-only", "-q"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "test_peak_keeps_its_contract" in done.stdout
    assert "test_law_has_not_grown" not in done.stdout
