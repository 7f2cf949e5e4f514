"""The answer is the float64 oracle's within what bf16 allows; #41962's own error for comparison."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit
from oom_suite.safety.steps import Answer, answer, described, make_step, options_for
from oom_suite.workloads.sparse_mla.caches import PATTERNS
from oom_suite.workloads.sparse_mla.step import oracle, tolerance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from oom_suite.safety.steps import Target
    from oom_suite.workloads.sparse_mla.step import StepOptions

NOT_PROVED = "On other keys, longer rows or other sizes; only these steps were computed."


@dataclass(frozen=True, slots=True)
class _Errors:
    """How far one answer is from the oracle's.

    Attributes:
        largest: largest absolute error; NaN where the answer holds one.
        share: the largest error as a share of what is allowed there; above 1 is a breach.
        allowed: what is allowed where the share is largest.
    """

    largest: float
    share: float
    allowed: float


class Precision:
    """Compares small steps of every layer kind and index pattern with the float64 oracle.

    A call that takes ``fp8_dtype`` is tried with e4m3fn and e4m3fnuz; another one with the fp8
    that the target's caches hold.

    Args:
        reference: a name and a call whose error on the same steps is given for comparison; None
            for none.

    **Does not prove:** anything about other keys, longer rows or other sizes.
    """

    name = "precision"

    def __init__(self, reference: tuple[str, Callable[..., Any]] | None = None) -> None:
        """Remember what to compare with."""
        self._reference = reference

    def __call__(self, target: Target) -> Finding:
        """The verdict on precision."""
        hits: list[Hit] = []
        found: list[_Errors] = []
        compared: list[_Errors] = []
        for tried in _with_each_fp8(target):
            for options in _all_options(tried):
                step = make_step(tried, options)
                got = answer(tried, step)
                if got.output is None:
                    return _raised(options, got)
                expected = oracle(step, options.fp8_dtype)
                allowed = tolerance(step, expected, options.fp8_dtype)
                found.append(_errors(got.output, expected, allowed))
                if not found[-1].share <= 1.0:
                    hits.append(_hit(options, found[-1]))
                compared.append(self._reference_errors(tried, step, expected, allowed))
        worst = max(found, key=lambda one: one.share)
        facts = [
            ("max_abs_error", _largest(found)),
            ("bound", f"{worst.allowed:.3g}"),
            ("share_of_bound", f"{worst.share:.0%}"),
        ]
        if self._reference is not None:
            facts.append((f"max_abs_error_{self._reference[0]}", _largest(compared)))
        verdict = Verdict.FAIL if hits else Verdict.PASS
        reason = (
            f"{len(hits)} of {len(found)} steps are further from the float64 oracle than bf16 "
            "allows"
            if hits
            else f"{len(found)} steps within {worst.share:.0%} of the error that bf16 allows"
        )
        return Finding(self.name, verdict, reason, tuple(hits), tuple(facts), NOT_PROVED)

    def _reference_errors(
        self,
        target: Target,
        step: Mapping[str, Any],
        expected: torch.Tensor,
        allowed: torch.Tensor,
    ) -> _Errors:
        if self._reference is None:
            return _Errors(0.0, 0.0, 0.0)
        call = functools.partial(self._reference[1], fp8_dtype=target.fp8_dtype)
        got = answer(replace(target, call=call), {**step, "output": step["output"].clone()})
        assert got.output is not None, got.error
        return _errors(got.output, expected, allowed)


def _with_each_fp8(target: Target) -> Iterator[Target]:
    """The target with every fp8 that its call can be told to read."""
    try:
        takes = "fp8_dtype" in inspect.signature(target.call).parameters
    except (TypeError, ValueError):
        takes = False
    if not takes:
        yield target
        return
    for fp8_dtype in (torch.float8_e4m3fn, torch.float8_e4m3fnuz):
        call = functools.partial(target.call, fp8_dtype=fp8_dtype)
        yield replace(target, call=call, fp8_dtype=fp8_dtype)


def _all_options(target: Target) -> Iterator[StepOptions]:
    for options in options_for(target):
        for pattern in PATTERNS:
            yield replace(options, pattern=pattern)


def _errors(got: torch.Tensor, expected: torch.Tensor, allowed: torch.Tensor) -> _Errors:
    error = (got.cpu().to(torch.float64) - expected).abs()
    # Where no error is allowed (a row of zeros), any error has an infinite share.
    share = torch.where(error == 0, 0.0, error / allowed)
    share = share.nan_to_num(nan=torch.inf)
    at = int(share.argmax())
    return _Errors(float(error.max()), float(share.flatten()[at]), float(allowed.flatten()[at]))


def _largest(errors: list[_Errors]) -> str:
    return f"{max(one.largest for one in errors):.3g}"


def _hit(options: StepOptions, found: _Errors) -> Hit:
    text = (
        f"{described(options)}: error {found.largest:.3g}, {found.share:.3g} times the "
        f"{found.allowed:.3g} allowed there"
    )
    return Hit("wrong-answer", text)


def _raised(options: StepOptions, got: Answer) -> Finding:
    reason = f"a plain step ({described(options)}) raised {got.error}"
    return Finding("precision", Verdict.INCONCLUSIVE, reason, not_proved=NOT_PROVED)
