"""Padding, empty and impossible indices have a stated outcome, and never touch memory outside."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import LaneError
from oom_suite.processes.forked import in_fork
from oom_suite.safety.guarded import GuardedStep, fill_unreferenced, guard_step
from oom_suite.safety.index_cases import IMPOSSIBLE, VALID, IndexCase, cases_of, make_case
from oom_suite.safety.index_outcomes import (
    IGNORED,
    RIGHT,
    UNDEFINED,
    Outcome,
    judge,
    unknown_outcome,
)
from oom_suite.safety.poison import POISONS
from oom_suite.safety.steps import Answer, answer, errors, oracle, output_of, tolerance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from oom_suite.records import Workload
    from oom_suite.records.safety import Finding
    from oom_suite.safety.steps import Target
    from oom_suite.workloads.variants import Variant

TIME_LIMIT_S = 60.0
"""Seconds that one small step may take in a fork."""
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL")
_WILD = ("illegal memory access", "illegal address", "misaligned address")
"""Source: CUDA Runtime API 13.0, cudaError_t 700 and 716; HIP 7.0 has the same words."""
_NOT_THE_CODE_S = "InterpreterError"
"""What Triton's interpreter raises for what it cannot do, such as MI300's own fp8."""
_DEADLY = (*_WILD, "device-side assert", "unspecified launch failure", "AcceleratorError")


class BadIndices:
    """Calls a step with each of `cases_of` its workload between red zones.

    Valid indices must give the oracle's answer. A dtype, a stride or an empty batch may be
    refused with an error instead. An impossible index may be ignored, refused, or give anything
    (``undefined``), as long as no red zone is written, no input changed, nothing crashes, and the
    result does not depend on what stands in the red zones. On a CPU impossible cases run in a
    fork each, so that a crash is an outcome.

    **Does not prove:** that nothing outside is read and discarded, or that a wild access did not
    land in other mapped memory.
    """

    name = "indices"
    needs: tuple[str, ...] = ("variants", "pools", "oracle", "tolerance")

    def __call__(self, target: Target) -> Finding:
        """The verdict on indices."""
        outcomes: list[Outcome] = []
        cases = cases_of(target.workload, target.device, target.arch)
        harmless = _harmless(target, cases)
        for case in cases:
            outcomes.append(harmless.get(case.name) or run_case(target, case))
            if outcomes[-1].deadly:
                break
        return judge(outcomes, [case.name for case in cases])


def names_of_cases(workload: Workload, arch: str) -> list[str]:
    """The names of all cases; none where the workload lacks what they need."""
    if not all(getattr(workload, facet) for facet in BadIndices.needs):
        return []
    return [case.name for case in cases_of(workload, torch.device("cpu"), arch)]


def _harmless(target: Target, cases: Sequence[IndexCase]) -> dict[str, Outcome]:
    """The outcomes of the impossible cases where all of them are harmless; otherwise none.

    One fork for all costs a tenth of one for each. But what one case spoils could be blamed on the
    next: after a breach or a crash, each case runs in a fork of its own.
    """
    if target.device.type != "cpu":
        return {}
    impossible = [case for case in cases if case.expects == IMPOSSIBLE]
    try:
        found = in_fork(lambda: [_outcome(target, case) for case in impossible], TIME_LIMIT_S)
    except LaneError:
        return {}
    if any(outcome.breach for outcome in found):
        return {}
    return {outcome.case: outcome for outcome in found}


def run_case(target: Target, case: IndexCase) -> Outcome:
    """The outcome of one case."""
    run = functools.partial(_outcome, target, case)
    if case.expects != IMPOSSIBLE or target.device.type != "cpu":
        return run()
    try:
        return in_fork(run, TIME_LIMIT_S)
    except LaneError as error:
        seen = str(error)
        is_crash = any(name in seen for name in _CRASHES)
        return (
            Outcome(case.name, seen, "wild-access")
            if is_crash
            else unknown_outcome(case.name, seen)
        )


def _outcome(target: Target, case: IndexCase) -> Outcome:
    variant, step, sane = make_case(target, case)
    guarded = guard_step(target, step)
    fill_unreferenced(guarded)
    got, touched = _call(target, guarded)
    if touched:
        return Outcome(case.name, touched, "writes-outside")
    if got.output is None:
        return _refused(case, got)
    # The oracle looks into the same pools.
    is_right = _is_right(target, got.output, {**sane, **_pools_of(guarded)}, variant)
    if case.expects == IMPOSSIBLE:
        return _outside(target, case, guarded, got) or Outcome(
            case.name, IGNORED if is_right else UNDEFINED
        )
    if is_right:
        return Outcome(case.name, RIGHT)
    return Outcome(case.name, "another answer than the oracle's", "wrong-answer")


def _pools_of(guarded: GuardedStep) -> dict[str, torch.Tensor]:
    return {pool: guarded.step[pool] for pool in guarded.slots}


def _outside(
    target: Target, case: IndexCase, guarded: GuardedStep, plain: Answer
) -> Outcome | None:
    """The breach of a case whose result depends on the red zones, or that writes there."""
    for poison in POISONS:
        for buffer in guarded.buffers.values():
            for zone in buffer.zones:
                guarded.fill(zone, poison)
        again, touched = _call(target, guarded)
        if touched:
            return Outcome(case.name, touched, "writes-outside")
        if again != plain:
            seen = f"the result depends on memory outside ({poison.name} poison)"
            return Outcome(case.name, seen, "reads-outside")
    return None


def _refused(case: IndexCase, got: Answer) -> Outcome:
    seen = f"error: {got.error}"
    if _NOT_THE_CODE_S in got.error:
        return unknown_outcome(case.name, got.error)
    deadly = any(words in got.error for words in _DEADLY)
    if any(words in got.error for words in _WILD):
        return Outcome(case.name, seen, "wild-access", deadly)
    return Outcome(case.name, seen, "refuses-valid" if case.expects == VALID else "", deadly)


def _call(target: Target, guarded: GuardedStep) -> tuple[Answer, str]:
    """The answer, and which memory changed that must not have; empty for none."""
    before = {name: buffer.memory.clone() for name, buffer in guarded.buffers.items()}
    got = answer(target, guarded.step)
    if got.output is None and any(words in got.error for words in _DEADLY):
        return got, ""
    for name, buffer in guarded.buffers.items():
        differs = buffer.memory != before[name]
        if name == output_of(target.workload):
            differs[buffer.first_byte : buffer.first_byte + buffer.span_bytes] = False
        if bool(differs.any()):
            return got, f"{int(differs.sum()):,} bytes of or beside {name} were written"
    return got, ""


def _is_right(
    target: Target, output: torch.Tensor, sane: Mapping[str, Any], variant: Variant
) -> bool:
    expected = oracle(target, sane, variant)
    allowed = tolerance(target, sane, expected, variant)
    return bool((errors(output, expected[0]) <= allowed[0]).all())
