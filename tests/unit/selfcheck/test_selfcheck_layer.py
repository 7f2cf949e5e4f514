"""On which layer the self-check tries its subjects."""

from __future__ import annotations

import pytest

from oom_suite.selfcheck import layer
from oom_suite.selfcheck.faults.catalog import MUTANTS, TWINS
from oom_suite.selfcheck.layer import on_its_layer
from oom_suite.selfcheck.tasks import tasks


def tried(group):
    return [task.subject for task in tasks(group, "cpu") if task.subject.workload]


def test_every_name_that_is_listed_is_there():
    """A name in the list that is nobody's would keep nothing on both pools."""
    assert set() == layer._ABOUT_TWO_POOLS - {one.function for one in (*MUTANTS, *TWINS)}


@pytest.mark.parametrize("group", ["growth", "axes", "twins", "reach"])
def test_both_layers_are_tried(group):
    """No group that is searched for long is tried on one layer alone."""
    assert {"decode", "decode-swa"} == {subject.workload for subject in tried(group)}


def test_a_fault_in_the_compressed_pool_keeps_it():
    """Whole dequantization of the pool that a sliding window does not have is tried with it."""
    by_name = {subject.function: subject.workload for subject in tried("growth")}
    assert ("decode", "decode-swa") == (
        by_name["whole_dequant_extra"],
        by_name["whole_dequant_swa"],
    )


def test_what_no_detector_searches_for_stays_as_it_is():
    """Writes, capture and the like are tried as the catalog says.

    So is a workspace in a global: contexts grow in the compressed pool alone.
    """
    same = [one for one in MUTANTS if one.detector not in {"law", "reads"}]
    same += [one for one in TWINS if one.is_stateful]
    assert same == [on_its_layer(one) for one in same]
