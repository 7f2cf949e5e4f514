"""The quick half of the self-check, in one child, and that a weakened detector fails it.

The long half, every twin under the other detectors, is for ``tox -e nightly``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oom_suite.selfcheck.run import Options, selfcheck
from oom_suite.selfcheck.tasks import Half


@pytest.fixture(scope="module")
def quick():
    return selfcheck(Options(half=Half.QUICK, num_children=1))


def test_every_planted_fault_is_caught_and_named_rightly(quick):
    """No mutant survives the detector meant for it."""
    assert [] == [(one.name, one.verdict, one.named, one.reason) for one in quick.survivors]
    assert 126 == len(quick.mutants)


def test_no_healthy_twin_raises_an_alarm(quick):
    """Each is tried under the detector that it is likeliest to mislead."""
    assert [] == [(one.name, one.detector, one.reason) for one in quick.false_alarms]
    assert 36 == len({one.name for one in quick.twins})


def test_growth_of_a_byte_for_eight_blocks_is_caught(quick):
    """A bitmap of the pool; how much less is caught, the long half finds."""
    assert (8, False) == (quick.blocks_per_byte, quick.is_bounded)
    assert quick.is_good


def test_the_limit_is_between_a_growth_that_is_caught_and_one_that_is_missed():
    """One byte for 2**20 blocks is caught, and for twice as many missed."""
    tried = []
    found = selfcheck(Options(only="limit", num_children=1), tried.append)
    assert (1 << 20, True) == (found.blocks_per_byte, found.is_bounded)
    verdicts = {one.name: one.is_right for one in tried}
    assert verdicts["limit:one_byte_for_1048576_blocks"]
    assert not verdicts["limit:one_byte_for_2097152_blocks"]


def test_a_twin_is_tried_under_every_other_detector_in_the_long_half():
    """Whatever it was tried under at the push before."""
    found = selfcheck(Options(only="twins:row_by_row", half=Half.LONG, num_children=1))
    detectors = [one.detector for one in found.twins]
    assert ["law", "reads", "indices", "addresses", "capture", "creep", "precision"] == detectors
    assert found.is_good


def blind_precision():
    """Weakens the precision detector: whatever the answer, it is close enough."""
    from oom_suite.safety import precision

    precision.tolerance = lambda *_: float("inf")


def test_a_weakened_detector_fails_the_self_check(monkeypatch):
    """Where the precision detector accepts any answer, every mutant of it survives."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    found = selfcheck(
        Options(only="precision", num_children=1, weakened="test_selfcheck:blind_precision")
    )
    assert not found.is_good
    assert len(found.survivors) == len(found.mutants)


def test_the_command_prints_the_score_and_writes_json(suite, tmp_path):
    """One group on the command line: its score, exit 0, and a file to read."""
    path = tmp_path / "selfcheck.json"
    done = suite("selfcheck", "--only", "addresses", "--json", path)
    assert (0, True) == (done.returncode, "100%" in done.stdout)
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert json.loads(path.read_text(encoding="utf-8"))["selfcheck"]["is_good"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "growht"), "unknown group 'growht': choose from addresses, axes, "),
        (("--only", "growth:clone_of_pol"), "did you mean 'growth:clone_of_pool'?"),
        (("--half", "quik"), "unknown half 'quik': choose from long, quick; did you mean 'quick'?"),
        (("--device", "tpu"), "--device is 'tpu': choose cpu or cuda"),
    ],
    ids=["group", "fault", "half", "device"],
)
def test_bad_usage_is_one_line(suite, arguments, words):
    """Exit code 2, and the nearest name."""
    done = suite("selfcheck", *arguments)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert words in done.stderr
