"""All properties of a subject on a GPU, in a few processes at once. No torch.

A process that starts CUDA costs seconds, and what one property or one bad index does to a GPU
spoils it for the process: so there are many, and they start side by side. What they share is
memory alone, and only one at a time takes much of it.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from oom_suite.pipeline.safety_checks.client import finding_of, outcome_of, replace_spoiled
from oom_suite.processes.ending import threads
from oom_suite.safety.index_outcomes import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.pipeline.safety_checks.requests import SafetyJob
    from oom_suite.processes.askers import Respawning
    from oom_suite.records.safety import Finding
    from oom_suite.safety.index_outcomes import Outcome

    Start = Callable[[], Respawning]
    OnFinding = Callable[[Finding], None]

NUM_CASE_CHILDREN = 4
"""Processes that share the cases of bad indices."""

_SHARED = ("reads", "writes", "precision", "addresses")
"""Properties that one process looks at, one after another; the rest have one each."""

_far_pools = threading.Lock()
"""Two far pools of 8 GiB each are what one subject needs of the GPU, whoever else is checked."""


def find_on_gpu(
    job: SafetyJob,
    wanted: Sequence[str],
    start: Start,
    cases: Sequence[str],
    on_finding: OnFinding = lambda _: None,
) -> list[Finding]:
    """The findings on these properties, in their order.

    Args:
        job: the subject.
        wanted: names of properties.
        start: gives a child that sees the GPU; each is closed here.
        cases: the names of all cases of bad indices; none where the workload has none.
        on_finding: given each as it comes, on a thread of its own.
    """

    def one_by_one(names: Sequence[str]) -> list[Finding]:
        findings = []
        with start() as child:
            for name in names:
                findings.append(_found(child, job, name))
                on_finding(findings[-1])
        return findings

    def indices(_: Sequence[str]) -> list[Finding]:
        finding = judge(_outcomes(job, start, cases), cases)
        on_finding(finding)
        return [finding]

    groups = [[name for name in _SHARED if name in wanted]]
    groups += [[name] for name in wanted if name not in _SHARED]
    groups = [names for names in groups if names]
    with threads(len(groups)) as pool:
        running = [
            pool.submit(indices if names == ["indices"] and cases else one_by_one, names)
            for names in groups
        ]
        found = {finding.name: finding for each in running for finding in each.result()}
    return [found[name] for name in wanted]


def _found(child: Respawning, job: SafetyJob, name: str) -> Finding:
    """The finding on a property; a child whose GPU it has spoiled is replaced."""
    if name == "addresses":
        with _far_pools:
            finding = finding_of(child, job, name)
    else:
        finding = finding_of(child, job, name)
    replace_spoiled(child, job.device)
    return finding


def _outcomes(job: SafetyJob, start: Start, cases: Sequence[str]) -> list[Outcome]:
    """The outcome of each case: a child goes on to the next until one was deadly."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    found: dict[str, Outcome] = {}

    def work() -> None:
        while True:
            # A child that dies also yields an outcome. Each gets an asker of its own, for an asker
            # gives up after a few deaths.
            with start() as child:
                if not _until_deadly(child, job, waiting, found):
                    return

    num_workers = min(NUM_CASE_CHILDREN, len(cases))
    with threads(num_workers) as pool:
        for running in [pool.submit(work) for _ in range(num_workers)]:
            running.result()
    return [found[case] for case in cases]


def _until_deadly(
    child: Respawning, job: SafetyJob, waiting: queue.SimpleQueue[str], found: dict[str, Outcome]
) -> bool:
    """Whether there may be more cases: False when none was left to take."""
    while True:
        try:
            case = waiting.get_nowait()
        except queue.Empty:
            return False
        found[case] = outcome_of(child, job, case)
        if found[case].deadly:
            return True
