"""What runs in the self-check's children: a subject under its detectors, many of them in one child.

A law is found in a third of the time in a process that has found others: torch remembers what it
computed of fake tensors. Subjects that keep state have a child of their own, but for the law: each
of its runs is a fork that begins afresh.
"""

from __future__ import annotations

import gc
import importlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from oom_suite import doors
from oom_suite.errors import LaneError, OomSuiteError
from oom_suite.laws.derive import derive
from oom_suite.laws.from_start import judge_from_start
from oom_suite.laws.judge import Judgement, judge
from oom_suite.pipeline.law_tests.judging import Judging, judge_promise
from oom_suite.pipeline.law_tests.promise import promise
from oom_suite.pipeline.law_tests.runs import RunsHere
from oom_suite.pipeline.safety import SafetyJob
from oom_suite.pipeline.worker import make_handler as make_lane_handler
from oom_suite.processes.child_main import classify
from oom_suite.records import Afresh, Job
from oom_suite.safety.child import make_handler as make_safety_handler
from oom_suite.safety.gpu_health import is_sound
from oom_suite.safety.index_cases import CASES, IMPOSSIBLE
from oom_suite.safety.index_cases import judge as judge_indices
from oom_suite.selfcheck.faults.record import LAW, Mutant, Promised, Twin
from oom_suite.selfcheck.seen import seen_as
from oom_suite.selfcheck.varied import varied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.records import Result, Trace
    from oom_suite.records.safety import Finding, Hit
    from oom_suite.records.selfcheck import Seen
    from oom_suite.selfcheck.tasks import Task

SCENARIO = "issue-41962"
_STATELESS = "token_gather"
"""A subject that may be called in a process whose forks are to begin afresh."""
_NUM_STEADY_OF_A_TWIN = 24
"""Steady steps of its creep run: batches and contents come again after 12."""
_ROOT = Path(__file__).parents[2]


def make_handler(weakened: str = "") -> Callable[[Any], Any]:
    """The function that answers a task with what was `Seen`, and `IS_SOUND` with whether it is.

    Args:
        weakened: ``"module:function"`` that makes detectors worse before the first task, to see
            that the self-check sees that; empty for none.
    """
    # What is there lives as long as the process: no collection need look at it.
    gc.freeze()
    if weakened:
        module, _, function = weakened.partition(":")
        getattr(importlib.import_module(module), function)()
    return _answer


def _answer(request: Task | str) -> tuple[Seen, ...] | bool:
    if isinstance(request, str):
        return is_sound(torch.device("cuda"))
    return _tried(request)


def _tried(task: Task) -> tuple[Seen, ...]:
    seen = []
    safety: Callable[[str], Any] | None = None
    for detector in task.detectors:
        began = time.monotonic()
        if detector == LAW:
            verdict, named, reason = _law(task.subject)
        else:
            safety = safety or _safety(task)
            on_gpu = detector == "indices" and task.device != "cpu"
            finding = _indices_on_gpu(task, safety) if on_gpu else safety(detector)
            named = tuple(_named(hit, task.subject) for hit in finding.hits)
            verdict, reason = finding.verdict.value, finding.reason
        elapsed_ms = round(1000 * (time.monotonic() - began))
        seen.append(seen_as(task.subject, detector, verdict, named, reason, elapsed_ms))
    return tuple(seen)


def _named(hit: Hit, subject: Mutant | Twin) -> str:
    with_place = hit.frame is not None and (isinstance(subject, Twin) or subject.places)
    return f"{hit.kind} in {hit.frame.function}" if with_place and hit.frame else hit.kind


def _law(subject: Mutant | Twin) -> tuple[str, tuple[str, ...], str]:
    """The verdict of the law, the functions blamed, and why."""
    said: Result | Judgement
    try:
        said = _promised(subject) if subject.promised else _decoding(subject)
    except OomSuiteError as error:
        return "INCONCLUSIVE", (), str(error)
    return said.verdict.value, tuple(blame.function for blame in said.blame), said.reason


def _decoding(subject: Mutant | Twin) -> Judgement:
    workload = varied(doors.workload(subject.workload), subject)
    answer = _in_shadow(subject.spelling, workload.builder)
    sizes = workload.scenario(SCENARIO).sizes
    if subject.is_stateful:
        # Forks of this process begin with what torch remembers of fake tensors here.
        _in_shadow(_STATELESS, workload.builder)(dict(sizes))
        _, judgement = judge_from_start(
            lambda at: answer(Afresh(dict(at), num_calls=2)), workload, sizes
        )
        return judgement

    def run(at: Mapping[str, int]) -> Trace:
        try:
            trace: Trace = answer(dict(at))
        except OomSuiteError:
            raise
        except Exception as error:
            raise LaneError(classify(error, None)[1]) from error
        return trace

    return judge(derive(run, workload, sizes), workload)


def _in_shadow(spelling: str, builder: str) -> Callable[[Any], Any]:
    return make_lane_handler(Job(spelling, None, builder, "shadow", "cpu", "generic"))


def _promised(subject: Mutant | Twin) -> Result:
    module, _, function = subject.spelling.partition(":")
    build = getattr(importlib.import_module(module), function)
    given = subject.promised
    assert isinstance(given, Promised)
    says = promise(
        axes=given.axes,
        independent_of=given.independent_of,
        at_most=given.at_most or None,
        far=given.far,
        measure=False,
    )
    return judge_promise(subject.name, says, RunsHere(build, "cpu", _ROOT), Judging())


def _safety(task: Task) -> Callable[[str], Any]:
    workload = task.subject.workload
    # A fault may show once in a hundred steps; a twin is right in every one of them.
    num_steady = _NUM_STEADY_OF_A_TWIN if isinstance(task.subject, Twin) else None
    return make_safety_handler(
        SafetyJob(
            task.subject.spelling,
            None,
            workload,
            task.device,
            "generic",
            num_steady=num_steady,
            keeps_nothing=task.device == "cpu" and not task.subject.is_stateful,
        )
    )


def _indices_on_gpu(task: Task, safety: Callable[[str], Any]) -> Finding:
    """The finding on bad indices, the impossible ones on the CPU.

    On a GPU each of those may end the process, and of 36 subjects that is minutes; there a check
    of one subject tries them.
    """
    on_cpu = _safety(replace(task, device="cpu"))
    outcomes = [
        (on_cpu if case.asks == IMPOSSIBLE else safety)(f"indices/{case.name}") for case in CASES
    ]
    return judge_indices(outcomes, [case.name for case in CASES])
