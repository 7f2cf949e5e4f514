"""What runs in the self-check's children: one subject after another under its detectors.

A law is found in a third of the time in a process that has found others: torch remembers what it
computed of fake tensors. Subjects that keep state have a child of their own, but for the law: each
of its runs is a fork that begins afresh.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from oom_suite.doors import workload
from oom_suite.errors import OomSuiteError
from oom_suite.laws.derive import derive
from oom_suite.laws.from_start import judge_from_start
from oom_suite.laws.judge import Judgement, judge
from oom_suite.pipeline.fresh import RunAfresh
from oom_suite.pipeline.judging import study
from oom_suite.pipeline.law_tests.promise import promise
from oom_suite.pipeline.programs import CallableProgram, Run, SubjectProgram
from oom_suite.pipeline.safety_checks.detectors import Detecting
from oom_suite.pipeline.safety_checks.requests import SafetyJob
from oom_suite.pipeline.session import Session
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.safety.index_cases import IMPOSSIBLE, cases_of
from oom_suite.safety.index_outcomes import judge as judge_indices
from oom_suite.selfcheck.faults.record import LAW, Mutant
from oom_suite.subjects import parse
from oom_suite.tracing.lane_spec import LaneSpec

if TYPE_CHECKING:
    from oom_suite.processes.askers import InThisProcess
    from oom_suite.records import Result
    from oom_suite.records.safety import Finding, Hit
    from oom_suite.records.selfcheck import Trial
    from oom_suite.selfcheck.faults.record import Subject
    from oom_suite.selfcheck.tasks import Task

_NUM_STEADY_OF_A_TWIN = 24
"""Steady steps of its creep run: batches and contents come again after 12."""
_ROOT = Path(__file__).parents[2]


def trials_of(task: Task, here: InThisProcess) -> tuple[Trial, ...]:
    """What each detector says, in their order; of a twin, each that its workload is fit for."""
    trials = []
    safety: _Safety | None = None
    for detector in task.detectors:
        began = time.monotonic()
        if detector == LAW:
            verdict, named, reason = _law(task.subject, here)
        else:
            safety = safety or _Safety(task)
            if task.subject.is_twin and not safety.is_applicable(detector):
                continue
            finding = safety.find(detector)
            named = tuple(_name_of(hit, task.subject) for hit in finding.hits)
            verdict, reason = finding.verdict.value, finding.reason
        elapsed_ms = round(1000 * (time.monotonic() - began))
        trials.append(task.subject.trial(detector, verdict, named, reason, elapsed_ms))
    return tuple(trials)


def _name_of(hit: Hit, subject: Subject) -> str:
    is_expected_bare = isinstance(subject, Mutant) and not subject.places
    if hit.frame is None or is_expected_bare:
        return hit.kind
    return f"{hit.kind} in {hit.frame.function}"


def _law(subject: Subject, here: InThisProcess) -> tuple[str, tuple[str, ...], str]:
    """The verdict of the law, the functions blamed, and why."""
    try:
        judged = _law_of_builder(subject) if subject.promised else _law_of_step(subject, here)
    except OomSuiteError as error:
        return "INCONCLUSIVE", (), str(error)
    return judged.verdict.value, tuple(blame.function for blame in judged.blame), judged.reason


def _law_of_step(subject: Subject, here: InThisProcess) -> Judgement:
    """The fitted law alone: proofs are tried on the faults of builders."""
    narrow = subject.narrowed(workload(subject.workload))
    lane = LaneSpec("shadow")
    program = SubjectProgram(parse(subject.spelling), narrow)
    sizes = narrow.scenario().sizes
    if subject.is_stateful:
        _, judgement = judge_from_start(
            lambda at: here.ask(RunAfresh(program, lane, dict(at))), narrow, sizes
        )
        return judgement
    return judge(derive(lambda at: here.ask(Run(program, lane, dict(at))), narrow, sizes), narrow)


def _law_of_builder(subject: Subject) -> Result:
    module, _, function = subject.spelling.partition(":")
    build = getattr(importlib.import_module(module), function)
    given = subject.promised
    assert given is not None
    promised = promise(
        axes=given.axes,
        independent_of=given.independent_of,
        at_most=given.at_most or None,
        far=given.far,
        measure=False,
    )
    settings = promised.settings("cpu", None, DEFAULT_TIME_LIMIT_S)
    with Session.of(settings) as session:
        runs = session.open(CallableProgram(build, _ROOT), subject.name)
        return study(runs, subject.name, settings).result


class _Safety:
    """The detectors of one subject, in this process."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._detecting = self._on(task.device)

    def _on(self, device: str) -> Detecting:
        subject = self._task.subject
        # A fault may show once in a hundred steps; a twin is right in every one of them.
        num_steady = _NUM_STEADY_OF_A_TWIN if subject.is_twin else None
        return Detecting(
            SafetyJob(
                parse(subject.spelling),
                None,
                subject.workload,
                device,
                "generic",
                num_steady=num_steady,
                keeps_nothing=device == "cpu" and not subject.is_stateful,
            )
        )

    def is_applicable(self, detector: str) -> bool:
        """Whether the subject's workload has all that the detector needs."""
        return self._detecting.is_applicable(detector)

    def find(self, detector: str) -> Finding:
        """The finding on a property.

        On a GPU impossible indices are tried on the CPU: each may end the process, and of 36
        subjects that is minutes; there a check of one subject tries them.
        """
        if detector != "indices" or self._task.device == "cpu":
            return self._detecting.find(detector)
        on_cpu = self._on("cpu")
        known = workload(self._task.subject.workload)
        cases = cases_of(known, torch.device(self._task.device), "generic")
        outcomes = [
            (on_cpu if case.expects == IMPOSSIBLE else self._detecting).try_case(case.name)
            for case in cases
        ]
        return judge_indices(outcomes, [case.name for case in cases])
