"""The whole self-check, and that a weakened detector fails it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oom_suite.selfcheck.run import Options, selfcheck


@pytest.fixture(scope="module")
def whole():
    return selfcheck(Options())


def test_every_planted_fault_is_caught_and_named_rightly(whole):
    """No mutant survives the detector meant for it."""
    assert [] == [(one.name, one.verdict, one.named, one.reason) for one in whole.survivors]
    assert len(whole.mutants) >= 60


def test_nothing_is_said_of_healthy_twins(whole):
    """No detector raises a false alarm."""
    assert [] == [(one.name, one.detector, one.reason) for one in whole.false_alarms]
    assert len({one.name for one in whole.twins}) >= 30


def test_the_detection_limit_is_a_byte_for_eight_blocks_or_better(whole):
    """A bitmap of the pool is seen, and much less."""
    assert whole.blocks_per_byte >= 8
    assert whole.is_good


def blind_precision():
    """Weakens the precision detector: whatever the answer, it is close enough."""
    from oom_suite.safety import precision

    precision.tolerance = lambda *_: float("inf")


def test_a_weakened_detector_fails_the_self_check(monkeypatch):
    """Where the precision detector accepts any answer, every mutant of it survives."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    found = selfcheck(Options(only="precision", weakened="test_selfcheck:blind_precision"))
    assert not found.is_good
    assert len(found.survivors) == len(found.mutants)


def test_the_command_prints_the_score_and_writes_json(suite, tmp_path):
    """One group on the command line: its score, exit 0, and a file to read."""
    path = tmp_path / "selfcheck.json"
    done = suite("selfcheck", "--only", "addresses", "--json", path)
    assert (0, True) == (done.returncode, "100%" in done.stdout)
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert json.loads(path.read_text(encoding="utf-8"))["selfcheck"]["is_good"]


def test_an_unknown_group_is_one_line(suite):
    """A group that is not there is bad usage; the message names the nearest."""
    done = suite("selfcheck", "--only", "growht")
    assert done.returncode == 2
    assert "growth" in done.stderr
    assert "Traceback" not in done.stderr
