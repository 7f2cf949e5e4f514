"""Every subject, mutant and twin whose capture is tried, and how a child process tries it.

Three kinds of case:

- a *step* is judged as ``oom-suite check --safety`` judges it: the record, a real capture, and
  replays on new contents;
- a *wild step* reaches for memory that it was not given. Its answers say nothing, so it is
  captured and not replayed, with harmless memory around every tensor;
- a *builder* is no decode step and has nothing to be written anew: it is captured once.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from subject_trees import root_of

from oom_suite.selfcheck.faults.catalog import MUTANTS, TWINS
from oom_suite.subjects import builtin_names

RELEASES = ("vllm==0.21.0", "vllm==0.22.0", "vllm==0.25.0", "vllm==0.33.0")
WORKLOADS = ("decode", "decode-swa")
WILD = ("reads", "writes", "addresses", "indices")
"""Detectors of faults that reach for memory which is not theirs."""


@dataclass(frozen=True)
class Case:
    """One thing to capture.

    Attributes:
        name: how it is called in the evidence.
        subject: how it is spelled.
        workload: of a step.
        sizes: of a builder.
        is_wild: whether it may reach for memory that is not its own.
        is_stateful: whether it needs a process of its own.
        is_refused: whether a capture is expected to fail, after which its process is not used.
    """

    name: str
    subject: str
    workload: str = ""
    sizes: tuple[tuple[str, int], ...] = ()
    is_wild: bool = False
    is_stateful: bool = False
    is_refused: bool = False


def _of_catalog(one):
    return Case(
        one.name,
        one.spelling,
        one.workload,
        tuple(one.promised.axes.items()) if one.promised else (),
        is_wild=not one.is_twin and one.detector in WILD,
        is_stateful=one.is_stateful,
        is_refused=one.group == "capture",
    )


CASES = {
    case.name: case
    for case in (
        *(Case(f"{s}-{w}", s, w) for s in (*builtin_names(), *RELEASES) for w in WORKLOADS),
        *map(_of_catalog, (*MUTANTS, *TWINS)),
    )
}


def make_handler(device):
    """In a child: both ways on one case after another; the finding as JSON."""
    import torch

    def find(name):
        case = CASES[name]
        place = torch.device(device)
        if case.sizes:
            return _builder(case, place).to_json()
        return (_wild if case.is_wild else _replayed)(_target(case, place)).to_json()

    return find


def _target(case, place):
    from oom_suite.doors import workload as find_workload
    from oom_suite.safety.steps import Target
    from oom_suite.subjects import load, parse

    known, root = find_workload(case.workload), root_of(case.subject)
    loaded = load(parse(case.subject), known, root=None if root is None else Path(root))
    return Target(loaded.call, loaded.root, known, place)


def _detector():
    from oom_suite.safety.capture import Capture
    from oom_suite.subjects.families.vllm.triton_placeholder import set_on_launch

    return Capture(set_on_launch)


def _replayed(target):
    return _detector()(target)


def _wild(target):
    """Both ways, without replays; memory beside the tensors is zero, or slots that there are."""
    from oom_suite.safety.guarded import guard_step
    from oom_suite.safety.poison import ZERO
    from oom_suite.safety.replay_cases import replays

    def call_of(replay):
        guarded = guard_step(target, replay.first())
        for part in guarded.unreferenced():
            guarded.fill(part, ZERO)
        return lambda: target.call(**guarded.step)

    calls = (lambda replay=replay: call_of(replay) for replay in replays(target))
    return _both(lambda: _detector().record(target), calls, target.device, target.root)


def _builder(case, place):
    from oom_suite.pipeline.law_tests.sizes import Sizes
    from oom_suite.safety.capture import recorded

    module, _, function = case.subject.partition(":")
    build = getattr(importlib.import_module(module), function)
    root = Path(__file__).parents[2]
    sizes = dict(case.sizes)

    def built(at, device):
        return build(Sizes(at), device)

    calls = (lambda: built(sizes, place),)
    return _both(lambda: recorded(built, sizes, root), calls, place, root)


def _both(record, calls, device, root):
    """The finding of the record and of real captures, where nothing is replayed."""
    import torch

    from oom_suite.records.safety import Hit
    from oom_suite.safety.capture import Answer, agreed, by_record_alone
    from oom_suite.safety.fake_isolation import in_fork
    from oom_suite.safety.graph_replay import captured
    from oom_suite.safety.hip_releases import reports_capture_errors

    noted = Answer("the record", in_fork(record, 60.0))
    if elsewhere := by_record_alone(noted):
        return elsewhere
    refused = ()
    with torch.no_grad():
        for build in calls:
            graph = captured(build(), device, root)
            if isinstance(graph, Hit):
                refused = (graph,)
                break
    is_told = reports_capture_errors(torch.version.hip)
    return agreed(noted, Answer("torch.cuda.graph", refused), is_told=is_told)
