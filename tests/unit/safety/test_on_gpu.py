"""The properties of a subject in several processes at once: what dies or is spoiled is replaced."""

from __future__ import annotations

import os
import threading

import pytest

from fixtures.processes import HandlingChild
from oom_suite.pipeline.safety_checks.on_gpu import NUM_CASE_CHILDREN, find_on_gpu
from oom_suite.pipeline.safety_checks.requests import Find, IsGpuHealthy, SafetyJob
from oom_suite.processes.askers import Respawning
from oom_suite.records import Verdict
from oom_suite.records.safety import PROPERTIES, Finding
from oom_suite.safety.index_outcomes import IGNORED, RIGHT, Outcome

JOB = SafetyJob("a subject", None, "decode", "cuda", "generic")
CASES = ("fine", "asserts", "kills", "fine too", "asserts again", "last")


def make_handler(spoils):
    """In a child: a device that is spoiled by these requests, and fails whatever comes after."""
    is_spoiled = False

    def answer(request):
        nonlocal is_spoiled
        if isinstance(request, IsGpuHealthy):
            return not is_spoiled
        name, case = (request.name, "") if isinstance(request, Find) else ("indices", request.case)
        if case == "kills":
            os.abort()
        was_spoiled, is_spoiled = is_spoiled, is_spoiled or name in spoils
        if case:
            deadly = case.startswith("asserts")
            is_spoiled = is_spoiled or deadly
            said = "not known: spoiled" if was_spoiled else IGNORED if deadly else RIGHT
            return Outcome(case, said, deadly=deadly)
        return Finding(name, Verdict.INCONCLUSIVE if was_spoiled else Verdict.PASS, "")

    return answer


@pytest.fixture
def found():
    """`found(wanted, spoils, cases)`: the findings, and how many children there were."""

    def find(wanted, spoils=(), cases=CASES):
        started, told = [], []
        lock = threading.Lock()

        def start():
            return Respawning(begin)

        def begin():
            with lock:
                started.append(None)
            return HandlingChild(f"{__name__}:make_handler", (spoils,), time_limit_s=60.0)

        findings = find_on_gpu(JOB, wanted, start, cases, told.append)
        assert sorted(findings, key=str) == sorted(told, key=str)
        return findings, len(started)

    return find


def test_findings_come_in_the_order_of_the_properties(found):
    """Whoever is first: one child for what may share it, one each for the rest, four for cases."""
    findings, num_started = found(PROPERTIES, cases=("a", "b", "c", "d", "e"))
    assert list(PROPERTIES) == [one.name for one in findings]
    assert {Verdict.PASS} == {one.verdict for one in findings}
    assert num_started <= 3 + NUM_CASE_CHILDREN


def test_a_property_that_spoils_the_device_costs_the_next_a_new_child(found):
    """And no more than that: the next is judged as if nothing had been."""
    findings, num_started = found(("reads", "writes", "precision"), spoils=("writes",))
    assert [Verdict.PASS] * 3 == [one.verdict for one in findings]
    assert 2 == num_started


def test_a_deadly_case_ends_its_own_child_alone(found):
    """A crash is a breach of its case, an assertion is none, and the others are all right."""
    (finding,), _ = found(("indices",))
    said = dict(finding.facts)
    assert list(CASES) == list(said)
    assert [("wild-access", "kills")] == [
        (hit.kind, hit.text.partition(":")[0]) for hit in finding.hits
    ]
    assert {"fine": RIGHT, "fine too": RIGHT, "last": RIGHT} == {
        case: what for case, what in said.items() if case in {"fine", "fine too", "last"}
    }
    assert [IGNORED, IGNORED] == [said["asserts"], said["asserts again"]]
