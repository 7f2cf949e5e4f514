"""The detectors of one subject, in the process that runs them."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

import torch

from oom_suite import doors
from oom_suite.errors import NotApplicableError
from oom_suite.safety.index_cases import cases_of
from oom_suite.safety.indices import run_case
from oom_suite.safety.steps import Target, find, missing_facet
from oom_suite.safety.triton_interpreter import interpret_triton
from oom_suite.subjects import family_of, load
from oom_suite.subjects.families.vllm.triton_placeholder import set_on_launch

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.pipeline.safety_checks.requests import SafetyJob
    from oom_suite.records import Workload
    from oom_suite.records.safety import Finding
    from oom_suite.safety.index_outcomes import Outcome
    from oom_suite.safety.steps import Detector


def _precision(workload: Workload) -> Detector:
    from oom_suite.safety.precision import Precision

    known = ((name, one.code) for name, one in workload.builtins.items() if one.known_bug)
    for name, code in known:
        module, _, function = code.partition(":")
        return Precision((name, getattr(importlib.import_module(module), function)))
    return Precision()


def _capture(*, keeps_nothing: bool = False) -> Detector:
    from oom_suite.safety import capture
    from oom_suite.safety.fake_isolation import in_fork, in_place

    return capture.Capture(set_on_launch, in_place if keeps_nothing else in_fork)


def _creep(num_steady: int | None = None, *, keeps_nothing: bool = False) -> Detector:
    from oom_suite.safety import creep
    from oom_suite.safety.fake_isolation import in_fork, in_place

    runs = in_place if keeps_nothing else in_fork
    return creep.Creep(set_on_launch, num_steady, runs)


def _plain(module: str, detector: str) -> Callable[[], Detector]:
    def make() -> Detector:
        # Late: a child imports what its own detectors need, and no other's.
        made: Detector = getattr(importlib.import_module(f"oom_suite.safety.{module}"), detector)()
        return made

    return make


class Detecting:
    """One subject in this process, and the detectors for it.

    Raises:
        SubjectError: it cannot be loaded.
    """

    def __init__(self, job: SafetyJob) -> None:
        """Load the subject; where kernels are interpreted, Triton before it."""
        if job.interprets:
            torch.set_num_threads(1)
            interpret_triton()
        workload, family = doors.workload(job.workload), family_of(job.spec)
        subject = load(job.spec, workload, root=job.root, arch=job.arch)
        if unfit := family.unfit_variants(workload, str(subject.version), job.arch):
            raise NotApplicableError(unfit)
        self._target = Target(
            call=subject.call,
            root=subject.root,
            workload=workload,
            device=torch.device(job.device),
            arch=job.arch if family.obeys_arch else "generic",
        )
        keeps_nothing = job.keeps_nothing
        self._detectors: dict[str, Callable[[], Detector]] = {
            "reads": _plain("reads", "Reads"),
            "writes": _plain("writes", "Writes"),
            "indices": _plain("indices", "BadIndices"),
            "addresses": _plain("addresses", "Addresses"),
            "capture": functools.partial(_capture, keeps_nothing=keeps_nothing),
            "creep": functools.partial(_creep, job.num_steady, keeps_nothing=keeps_nothing),
            "precision": functools.partial(_precision, workload),
        }

    def find(self, name: str) -> Finding:
        """The finding on a property."""
        return find(self._detectors[name](), self._target)

    def is_applicable(self, name: str) -> bool:
        """Whether the workload has all that this property's detector needs."""
        return not missing_facet(self._detectors[name](), self._target.workload)

    def try_case(self, name: str) -> Outcome:
        """The outcome of one case of bad indices."""
        target = self._target
        cases = cases_of(target.workload, target.device, target.arch)
        return run_case(target, next(case for case in cases if case.name == name))
