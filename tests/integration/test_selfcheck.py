"""The quick half of the self-check, in one child, and that a weakened detector fails it.

The long half, every twin under the other detectors, is for ``tox -e nightly``.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from oom_suite import doors
from oom_suite.records.selfcheck import LIMIT_GROUP, TWINS_GROUP
from oom_suite.selfcheck.faults.declare import each_once
from oom_suite.selfcheck.run import Options, selfcheck
from oom_suite.selfcheck.tasks import Half, groups

SUBJECTS = each_once(doors.faults())
HAS_TRITON = importlib.util.find_spec("triton") is not None
GROUPS = [name for name in groups(SUBJECTS) if name != LIMIT_GROUP]


def quick(group):
    """A group in its cheapest sufficient form; `tox -e nightly` runs the long half."""
    # One child: other tests have the other cores.
    return selfcheck(Options(only=group, half=Half.QUICK, num_children=1))


@pytest.mark.parametrize("group", GROUPS)
def test_every_fault_is_caught_and_named_rightly_and_nothing_is_said_of_a_twin(group):
    """No mutant survives the detector meant for it, and no detector raises a false alarm."""
    found = quick(group)
    wrong = [one for one in found.trials if not one.is_right]
    assert [] == [(one.name, one.detector, one.verdict, one.named, one.reason) for one in wrong]
    tried = {one.name for one in found.trials}
    assert tried == {
        subject.name
        for subject in SUBJECTS
        if group == (TWINS_GROUP if subject.is_twin else subject.group)
        if HAS_TRITON or not subject.launches_kernels
    }


def test_there_are_many_of_both():
    """No group is empty, and none was lost."""
    assert len([subject for subject in SUBJECTS if not subject.is_twin]) >= 120
    assert len([subject for subject in SUBJECTS if subject.is_twin]) >= 30


def test_the_detection_limit_is_a_byte_for_eight_blocks_or_better():
    """A bitmap of the pool is seen."""
    found = quick(LIMIT_GROUP)
    assert found.blocks_per_byte >= 8
    assert found.is_good


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
    import torch

    from oom_suite.safety import precision

    precision.errors = lambda _got, expected: torch.zeros_like(expected)


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


def test_what_needs_triton_is_counted_and_not_tried_without_it(suite, monkeypatch):
    """The rest of the group is; asked for alone, it is refused with what to install."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "triton" else find(name)
    )
    some = [one for one in SUBJECTS if (one.group, one.detector) == ("kernels", "writes")]
    monkeypatch.setattr(doors, "faults", lambda: some)
    done = suite("selfcheck", "--only", "kernels")
    assert 0 == done.returncode, done.stdout
    assert "not tried: 2 faults and twins of Triton's kernels, as Triton is not" in done.stdout
    alone = suite("selfcheck", "--only", "kernels:heads_of_the_tile_stored")
    assert 2 == alone.returncode
    assert "Triton is not installed: pip install 'oom-suite[triton]'" in alone.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "growht"), "unknown group 'growht': choose from addresses, axes, "),
        (("--only", "growth:clone_of_pol"), "did you mean 'growth:clone_of_pool'?"),
        (("--half", "quik"), "unknown half 'quik': choose from long, quick; did you mean 'quick'?"),
        (("--device", "tpu"), "--device 'tpu': choose cpu"),
    ],
    ids=["group", "fault", "half", "device"],
)
def test_bad_usage_is_one_line(suite, arguments, words):
    """Exit code 2, and the nearest name."""
    done = suite("selfcheck", *arguments)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert words in done.stderr
