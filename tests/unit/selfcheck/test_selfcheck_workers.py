"""A self-check's child whose GPU is spoiled is replaced, and what it spoiled is tried again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from oom_suite.pipeline.safety_checks.requests import IsGpuHealthy
from oom_suite.processes.askers import Respawning
from oom_suite.processes.child import ChildError, Outcome
from oom_suite.records.safety import PROPERTIES
from oom_suite.selfcheck.faults.catalog import SUBJECTS
from oom_suite.selfcheck.faults.record import LAW, Mutant, Twin
from oom_suite.selfcheck.run import Options, shares
from oom_suite.selfcheck.tasks import Task, tasks
from oom_suite.selfcheck.workers import trials_on_gpu, try_task


class Simulated:
    """A child with a GPU: its answers are INCONCLUSIVE once the device is spoiled."""

    def __init__(self):
        self.is_spoiled = False
        self.is_closed = False

    def ask(self, request):
        if isinstance(request, IsGpuHealthy):
            # Some errors show only with a later call.
            return not self.is_spoiled
        function = request.subject.function
        if function == "dies":
            raise ChildError(Outcome.CRASHED, "the process crashed with SIGSEGV")
        verdict = "INCONCLUSIVE" if self.is_spoiled or function == "open" else "FAIL"
        self.is_spoiled = self.is_spoiled or function in {"asserts", "late"}
        (detector,) = request.detectors
        return (request.subject.trial(detector, verdict, ("hit",), "", 0),)

    def close(self):
        self.is_closed = True


def task(function, detector="writes"):
    subject = Mutant(
        spelling=f"somewhere:{function}",
        group="reach",
        about="a fault",
        detector=detector,
        expected=("hit",),
    )
    return Task(subject, (detector,), "cuda")


@pytest.fixture
def started():
    return []


@pytest.fixture
def child(started):
    with Respawning(lambda: started.append(Simulated()) or started[-1]) as child:
        yield child


def test_a_child_serves_many_tasks(child, started):
    """Nothing is started without need."""
    assert ["FAIL"] * 3 == [trials_on_gpu(task("plain"), child)[0].verdict for _ in range(3)]
    assert 1 == len(started)


def test_a_task_that_spoils_the_device_is_the_last_of_its_child(child, started):
    """The next one is judged in a new child, and rightly."""
    verdicts = [trials_on_gpu(task(name), child)[0].verdict for name in ("asserts", "plain")]
    assert ["FAIL", "FAIL"] == verdicts
    assert [True, False] == [one.is_closed for one in started]


def test_a_task_that_met_a_spoiled_device_is_tried_once_more(child, started):
    """Though the device seemed sound before it."""
    trials_on_gpu(task("plain"), child)
    started[0].is_spoiled = True
    assert "FAIL" == trials_on_gpu(task("plain"), child)[0].verdict
    assert 2 == len(started)


def test_a_task_that_is_open_in_a_new_child_too_stays_open(child, started):
    """One more try, and no endless ones; none where the child was new."""
    assert "INCONCLUSIVE" == trials_on_gpu(task("open"), child)[0].verdict
    assert 1 == len(started)
    assert "INCONCLUSIVE" == trials_on_gpu(task("open"), child)[0].verdict
    assert 2 == len(started)


def test_a_child_that_dies_leaves_its_task_inconclusive_and_the_next_is_judged(child):
    """The task that the child died of is open, with how; the next is judged."""
    (trial,) = trials_on_gpu(task("dies"), child)
    assert ("INCONCLUSIVE", "crashed: the process crashed with SIGSEGV") == (
        trial.verdict,
        trial.reason,
    )
    assert "FAIL" == trials_on_gpu(task("plain"), child)[0].verdict


def test_a_refused_capture_ends_its_child(child, started):
    """The allocator may stand in the middle of it."""
    trials_on_gpu(task("plain", "capture"), child)
    assert started[0].is_closed


class Noting:
    """A child that notes what it was asked."""

    def __init__(self):
        self.asked = []

    def ask(self, request):
        self.asked.append((request.detectors, request.interprets))
        return tuple(request.subject.trial(name, "PASS", (), "", 0) for name in request.detectors)


def test_what_runs_a_kernel_for_real_on_a_cpu_has_it_interpreted():
    """In a child for that; with fake tensors no kernel runs, and the usual child does."""
    subject = Twin(
        spelling="somewhere:kernel", group="k", about="", detector="reads", launches_kernels=True
    )
    children = SimpleNamespace(shared=Noting(), interpreting=Noting(), needs_gpu=False)
    found = try_task(Task(subject, (LAW, "reads", "capture", "precision"), "cpu"), children)
    assert [LAW, "capture", "reads", "precision"] == [one.detector for one in found]
    assert [((LAW, "capture"), False)] == children.shared.asked
    assert [(("reads", "precision"), True)] == children.interpreting.asked


def shared(**options):
    """Each share of the whole self-check: threads, whether it has a GPU, its work."""

    def limit(children):
        return ()

    wanted = tasks(SUBJECTS, options["device"])
    for share in shares(wanted, [limit], Options(**options)):
        work = [one.args[0].detectors if one is not limit else ("limit",) for one in share.work]
        yield share.num_threads, share.needs_gpu, work


def test_on_a_gpu_each_detector_has_the_children_that_it_needs():
    """Laws none with a GPU, and the limit is sought before them; far pools a few at a time."""
    others, far, laws = shared(device="cuda", num_children=8)
    assert [(8, True), (2, True), (4, False)] == [(*one[:2],) for one in (others, far, laws)]
    assert set(PROPERTIES) - {"addresses"} == {name for names in others[2] for name in names}
    assert {("addresses",)} == set(far[2])
    assert [("limit",), ("law",)] == list(dict.fromkeys(laws[2]))


def test_on_a_cpu_all_is_shared_by_all_children():
    """One child is enough, and tries everything."""
    ((num_threads, needs_gpu, work),) = shared(device="cpu", num_children=1)
    assert (1, False, ("limit",)) == (num_threads, needs_gpu, work[0])
    assert {"limit", "law", *PROPERTIES} == {name for names in work for name in names}
