"""Whether a server's profile run covers the steps that can come after it, step by step."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oom_suite import doors
from oom_suite.errors import UsageError, unknown
from oom_suite.pipeline.check import check_cases
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, Settings, silent
from oom_suite.records import Contract, CoveredBy, Verdict
from oom_suite.records.serving import CoversReport, StepResult
from oom_suite.subjects import family_of
from oom_suite.targets.target import target as find_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.records import Result, SubjectSpec, Workload
    from oom_suite.records.covering import Box, Profile, Step
    from oom_suite.workloads.sparse_mla.geometry.models import Model

INDEX_HEADS = 64
"""Query heads of the indexer, which tensor parallelism does not split.

Source: vLLM 0.21.0 `model_executor/layers/deepseek_v4_attention.py:1129`; the published
`config.json` of both models, `index_n_heads`.
"""


@dataclass(frozen=True, slots=True)
class Server:
    """The flags that decide which steps can come, and the model.

    Attributes:
        model: its sizes.
        max_model_len: tokens of the longest context.
        max_num_batched_tokens: tokens that a step can have.
        max_num_seqs: requests that a step can have.
        num_speculative_tokens: tokens guessed for each request; 0 without speculation.
        tensor_parallel_size: ranks that share the query heads.
        num_gpu_blocks: blocks of every pool.
    """

    model: Model
    max_model_len: int
    max_num_batched_tokens: int
    max_num_seqs: int
    num_speculative_tokens: int
    tensor_parallel_size: int
    num_gpu_blocks: int

    @property
    def flags(self) -> dict[str, int]:
        """Its flags, by the names that they have on a server's command line."""
        return {
            "max-model-len": self.max_model_len,
            "max-num-batched-tokens": self.max_num_batched_tokens,
            "max-num-seqs": self.max_num_seqs,
            "num-speculative-tokens": self.num_speculative_tokens,
            "tensor-parallel-size": self.tensor_parallel_size,
            "num-gpu-blocks": self.num_gpu_blocks,
        }

    def values(self) -> dict[str, int]:
        """The names that the formulas of a `Step` are in.

        Raises:
            UsageError: the ranks cannot share the heads.
        """
        return {
            "max_model_len": self.max_model_len,
            "max_num_batched_tokens": self.max_num_batched_tokens,
            "max_num_seqs": self.max_num_seqs,
            "next_n": self.num_speculative_tokens + 1,
            "num_blocks": self.num_gpu_blocks,
            "num_heads": self.model.heads_per_rank(self.tensor_parallel_size),
            "index_heads": INDEX_HEADS,
            "index_topk": self.model.index_topk,
            "window_tokens": self.model.window_tokens,
        }


def find_profile(spec: SubjectSpec, target: str) -> Profile:
    """What is known of a release's profile run on a target.

    Raises:
        UsageError: it is no release, or nothing is known of it.
    """
    known, backend = family_of(spec).profiles, find_target(target).backend
    if spec.version is None or not known:
        raise UsageError(
            f"subject {spec.text!r} is no release whose profile run is known: name one of vLLM, "
            "as vllm==0.33.0"
        )
    of_backend = {profile.release: profile for profile in known if profile.backend == backend}
    if not of_backend:
        backends = sorted({profile.backend for profile in known})
        raise UsageError(
            f"--target {target}: the profile run of {spec.text} is known on "
            f"{' and '.join(backends)}"
        )
    if spec.version not in of_backend:
        raise unknown(f"profile run of a release on {backend}", spec.version, of_backend)
    return of_backend[spec.version]


def chosen_steps(profile: Profile, names: Sequence[str]) -> tuple[Step, ...]:
    """The steps of these names; all of them where none is named.

    Raises:
        UsageError: there is no such step.
    """
    by_name = {step.name: step for step in profile.steps}
    for name in names:
        if name not in by_name:
            raise unknown("step", name, by_name)
    return tuple(by_name[name] for name in dict.fromkeys(names)) or profile.steps


def covers(
    spec: SubjectSpec,
    profile: Profile,
    steps: Sequence[Step],
    server: Server,
    target: str,
    figures: Mapping[str, int],
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    on_progress: OnProgress = silent,
    on_step: Callable[[StepResult], None] = lambda _: None,
) -> CoversReport:
    """What the profile run covers of these steps.

    Args:
        spec: the release.
        profile: its profile run.
        steps: those of its steps that are judged.
        server: the flags and the model.
        target: whose path it is.
        figures: what the profile run took, measured, by step; else as its source has it.
        time_limit_s: seconds that one run may take.
        on_progress: given what each step is doing.
        on_step: given each step's result, on the thread that found it.

    Raises:
        UsageError: a flag cannot be used, or a step's workload is not installed.
    """
    cases = [_settings(step, server, target, figures, time_limit_s) for step in steps]
    by_scenario = {case.scenario: step for step, case in zip(steps, cases, strict=True)}

    def on_result(result: Result) -> None:
        on_step(_step_result(spec, by_scenario[result.scenario], result))

    studies = check_cases([(spec, case) for case in cases], on_progress, on_result)
    return CoversReport(
        subject=spec.text,
        target=target,
        model=server.model.name,
        flags=server.flags,
        where=profile.where,
        steps=tuple(
            _step_result(spec, step, study.result)
            for step, study in zip(steps, studies, strict=True)
        ),
    )


def box_of(step: Step, server: Server) -> Box:
    """The sizes that a step can have on a server."""
    values = server.values()
    return tuple((axis, int(least(values)), int(most(values))) for axis, least, most in step.box)


def _settings(
    step: Step, server: Server, target: str, figures: Mapping[str, int], time_limit_s: float
) -> Settings:
    known = doors.workloads()
    if step.workload not in known:
        raise unknown("workload", step.workload, known)
    workload, box = known[step.workload], box_of(step, server)
    measured = figures.get(step.name, figures.get(""))
    num_bytes = int(step.num_bytes(server.values())) if measured is None else measured
    what = "the profile run" if measured is None else "the measured profile run"
    promise = CoveredBy(box, num_bytes, what=what)
    return Settings(
        scenario=step.name,
        sizes=_sizes(workload, box),
        workload=replace(workload, contract=Contract(covered_by=promise), host=False),
        target=target,
        time_limit_s=time_limit_s,
    )


def _sizes(workload: Workload, box: Box) -> dict[str, int]:
    """The workload's own sizes, moved into the box: where its law is looked for first."""
    usual = workload.scenario().sizes
    inside = {axis: min(max(usual[axis], least), most) for axis, least, most in box}
    sizes = {**usual, **inside}
    settled = workload.settle(sizes)
    if settled is None:
        raise UsageError(f"no inputs of {workload.name} can be built at these flags: {sizes}")
    return dict(settled)


def _step_result(spec: SubjectSpec, step: Step, result: Result) -> StepResult:
    coverage = result.coverage
    if result.verdict is Verdict.PASS or coverage is None or not coverage.sizes:
        return StepResult(step, result)
    words = ["oom-suite", "measure", spec.text, "--workload", step.workload]
    for axis, _, _ in step.box:
        words += ["--set", f"{axis}={coverage.sizes[axis]}"]
    return StepResult(step, result, shlex.join([*words, "--device", "cuda"]))
