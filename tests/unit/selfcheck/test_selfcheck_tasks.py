"""The order in which the self-check tries its subjects."""

from __future__ import annotations

from oom_suite.records.safety import PROPERTIES
from oom_suite.records.selfcheck import TWINS_GROUP
from oom_suite.selfcheck import LAW
from oom_suite.selfcheck.faults.catalog import SUBJECTS
from oom_suite.selfcheck.tasks import Half, tasks


def test_the_longest_come_first_so_that_no_core_idles_at_the_end():
    """Twins under all detectors, then laws, then what takes a fraction of a second."""
    lengths = [
        (len(task.detectors) == 1, LAW not in task.detectors) for task in tasks(SUBJECTS, "cpu")
    ]
    assert sorted(lengths) == lengths


def test_on_a_gpu_what_needs_a_process_of_its_own_comes_first():
    """A process with a GPU is slow to start: none is to begin when the rest is done."""
    is_own = [task.subject.is_stateful for task in tasks(SUBJECTS, "cuda")]
    assert sorted(is_own, reverse=True) == is_own


def test_a_group_keeps_to_its_own():
    """One group has no other's subjects."""
    own = {"twins", "builders", "devices", "host", "kept", "threads", "custom_operators"}
    own |= {"kernel_twins", "indexer", "indexer_prefill", "sparse_prefill"}
    own |= {"sampling", "layer_caches", "capacities"}
    assert own == {t.subject.group for t in tasks(SUBJECTS, "cpu", only=TWINS_GROUP)}


def test_on_a_cpu_what_keeps_state_comes_after_what_does_not():
    """The forks of its law find in their child what torch computed for those."""
    twins = [task for task in tasks(SUBJECTS, "cpu", only=TWINS_GROUP) if len(task.detectors) > 1]
    is_stateful = [task.subject.is_stateful for task in twins]
    assert any(is_stateful)
    assert sorted(is_stateful) == is_stateful


def trials(half):
    wanted = tasks(SUBJECTS, "cpu", half=half)
    return [(task.subject.name, detector) for task in wanted for detector in task.detectors]


def test_the_halves_are_the_whole_and_have_nothing_in_common():
    """What a push leaves out, the night tries."""
    assert sorted(trials(None)) == sorted(trials(Half.QUICK) + trials(Half.LONG))


def test_the_quick_half_tries_every_fault_and_every_twin_once():
    """Each under the detector that is meant for it, and each detector on some twin."""
    assert sorted((one.name, one.detector) for one in SUBJECTS) == sorted(trials(Half.QUICK))
    assert {LAW, *PROPERTIES} == {one.detector for one in SUBJECTS if one.is_twin}
