"""The option ``--oom-locked``."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TERM = "2677*num_tokens*extra_topk"


@pytest.fixture
def gate(tmp_path, oom_run):
    """Runs the gate on one built-in against a copy of the repository's lockfile, changed."""

    def run(replacement=TERM, *, file="laws.toml"):
        text = (ROOT / "oom-laws.toml").read_text("utf-8")
        (tmp_path / "laws.toml").write_text(text.replace(TERM, replacement), encoding="utf-8")
        options = ["--oom-subject=token_gather", f"--oom-locked={tmp_path / file}"]
        return oom_run(str(ROOT / "tests/gate"), "-k", "not swa", *options)

    return run


def test_a_law_as_locked_passes(gate):
    """The contract and the lockfile are both kept."""
    gate().assert_outcomes(passed=2, deselected=2)


def test_a_coefficient_one_larger_than_locked_fails(gate):
    """One byte more for each gathered slot is growth; the failure names the term and its line."""
    done = gate("2676*num_tokens*extra_topk")
    done.assert_outcomes(passed=1, failed=1, deselected=2)
    done.stdout.fnmatch_lines(["*the term 2677[*]num_tokens[*]extra_topk (locked: 2676)*"])


def test_a_missing_lockfile_stops_the_run_before_collection(gate):
    """One line, with the option and the file."""
    done = gate(file="absent.toml")
    assert pytest.ExitCode.USAGE_ERROR == done.ret
    (line,) = [line for line in done.errlines if line]
    assert line.startswith("ERROR: --oom-locked: no lockfile")


def test_without_it_no_law_is_held_to_a_lockfile(oom_run):
    """The lockfile's tests are left out, not skipped."""
    done = oom_run(str(ROOT / "tests/gate"), "--collect-only", "-q")
    done.stdout.fnmatch_lines(["*test_peak_keeps_its_contract*"])
    done.stdout.no_fnmatch_line("*test_law_has_not_grown*")
