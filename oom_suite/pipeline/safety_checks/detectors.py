"""The detectors of one subject, in the process that runs them."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

import torch
from packaging.version import Version

from oom_suite import doors
from oom_suite.errors import NotApplicableError
from oom_suite.safety.index_cases import CASES
from oom_suite.safety.indices import run_case
from oom_suite.safety.steps import Target
from oom_suite.safety.triton_interpreter import interpret_triton
from oom_suite.subjects import family_of, load
from oom_suite.subjects.families.vllm.triton_placeholder import set_on_launch
from oom_suite.workloads.sparse_mla.builtins import BUILTINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.pipeline.safety_checks.requests import SafetyJob
    from oom_suite.records.safety import Finding
    from oom_suite.safety.index_outcomes import Outcome
    from oom_suite.safety.steps import Detector


def _precision() -> Detector:
    from oom_suite.safety.precision import Precision

    name = "full_dequant"
    return Precision((name, BUILTINS[name]))


def _capture(*, keeps_nothing: bool = False) -> Detector:
    from oom_suite.safety import capture, fake_isolation

    runs = fake_isolation.in_place if keeps_nothing else fake_isolation.in_fork
    return capture.Capture(set_on_launch, runs)


def _creep(num_steady: int | None = None, *, keeps_nothing: bool = False) -> Detector:
    from oom_suite.safety import creep, fake_isolation

    runs = fake_isolation.in_place if keeps_nothing else fake_isolation.in_fork
    return creep.Creep(set_on_launch, num_steady, runs)


def _plain(module: str, detector: str) -> Callable[[], Detector]:
    def make() -> Detector:
        # Late: a child imports what its own detectors need, and no other's.
        made: Detector = getattr(importlib.import_module(f"oom_suite.safety.{module}"), detector)()
        return made

    return make


DETECTORS: dict[str, Callable[[], Detector]] = {
    "reads": _plain("reads", "Reads"),
    "writes": _plain("writes", "Writes"),
    "indices": _plain("indices", "BadIndices"),
    "addresses": _plain("addresses", "Addresses"),
    "capture": _capture,
    "creep": _creep,
    "precision": _precision,
}
"""What looks at each property."""


class Detecting:
    """One subject in this process, and the detectors for it.

    Args:
        job: the subject, and how it is checked.

    Raises:
        SubjectError: it cannot be loaded.
    """

    def __init__(self, job: SafetyJob) -> None:
        """Load the subject; where kernels are interpreted, Triton before it."""
        if job.interprets:
            torch.set_num_threads(1)
            interpret_triton()
        subject = load(job.spec, doors.workload(job.workload), root=job.root, arch=job.arch)
        is_vllm = family_of(job.spec).obeys_arch
        if is_vllm and job.arch == "gfx942" and job.workload == "decode":
            _require_one_fp8(str(subject.version))
        self._target = Target(
            call=subject.call,
            root=subject.root,
            workload=job.workload,
            device=torch.device(job.device),
            fp8_dtype=torch.float8_e4m3fnuz
            if is_vllm and job.arch == "gfx942"
            else torch.float8_e4m3fn,
        )
        keeps_nothing = job.keeps_nothing
        self._detectors: dict[str, Callable[[], Detector]] = {
            **DETECTORS,
            "capture": functools.partial(_capture, keeps_nothing=keeps_nothing),
            "creep": functools.partial(_creep, job.num_steady, keeps_nothing=keeps_nothing),
        }

    def find(self, name: str) -> Finding:
        """The finding on a property."""
        return self._detectors[name]()(self._target)

    def try_case(self, name: str) -> Outcome:
        """The outcome of one case of bad indices."""
        return run_case(self._target, next(case for case in CASES if case.name == name))


def _require_one_fp8(version: str) -> None:
    """Nothing, where the release reads both of its caches as the same fp8.

    Raises:
        NotApplicableError: it does not: from 0.25.0 on the compressed cache is e4m3fn everywhere.

    Source: vLLM 0.25.0 `v1/attention/ops/rocm_aiter_mla_sparse.py:2189`.
    """
    if Version(version) >= Version("0.25.0"):
        msg = (
            f"vLLM {version} on gfx942 reads its two caches as different kinds of fp8, and the "
            "steps of a safety check hold one: use --workload decode-swa, or --arch gfx950"
        )
        raise NotApplicableError(msg)
