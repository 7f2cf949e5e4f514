"""The answer is the float64 oracle's within what bf16 allows; a known bug's error beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit
from oom_suite.safety.steps import Answer, answer, errors, oracle, output_of, tolerance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from oom_suite.safety.steps import Target
    from oom_suite.workloads.variants import Variant

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
    """Compares small steps of every kind with the workload's float64 oracle.

    A call that can be told to read other number formats is tried with each.

    Args:
        reference: a name and a call whose error on the same steps is given for comparison; None
            for none.

    **Does not prove:** anything about other keys, longer rows or other sizes.
    """

    name = "precision"
    needs: tuple[str, ...] = ("variants", "oracle", "tolerance")

    def __init__(self, reference: tuple[str, Callable[..., Any]] | None = None) -> None:
        self._reference = reference

    def __call__(self, target: Target) -> Finding:
        """The verdict on precision."""
        hits: list[Hit] = []
        found: list[_Errors] = []
        compared: list[_Errors] = []
        for tried in _forms(target):
            for variant in tried.variants.thorough(tried.workload, tried.device, tried.arch):
                step = variant.make()
                # Before the call: it may write its result where its input was.
                expected = oracle(tried, step, variant)
                allowed = tolerance(tried, step, expected, variant)
                got = answer(tried, step)
                if got.outputs is None:
                    return _raised(variant, got)
                found.append(_errors(got.outputs, expected, allowed))
                if not found[-1].share <= 1.0:
                    hits.append(_hit(variant, found[-1]))
                compared.append(self._reference_errors(tried, step, expected, allowed))
        worst = max(found, key=lambda one: one.share)
        facts = [
            ("max_abs_error", _largest(found)),
            ("bound", f"{worst.allowed:.3g}"),
            ("share_of_bound", _percent(worst.share)),
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
        expected: tuple[torch.Tensor, ...],
        allowed: tuple[torch.Tensor, ...],
    ) -> _Errors:
        if self._reference is None:
            return _Errors(0.0, 0.0, 0.0)
        forms = _forms(replace(target, call=self._reference[1]))
        same = next(one for one in forms if one.arch == target.arch)
        written = output_of(target.workload)
        got = answer(same, {**step, written: step[written].clone()} if written else step)
        assert got.outputs is not None, got.error
        return _errors(got.outputs, expected, allowed)


def _forms(target: Target) -> Iterator[Target]:
    """The target with every number format that its call can be told to read."""
    for call, arch in target.variants.forms(target.call, target.arch):
        yield replace(target, call=call, arch=arch)


def _errors(
    got: Sequence[torch.Tensor],
    expected: Sequence[torch.Tensor],
    allowed: Sequence[torch.Tensor],
) -> _Errors:
    """Those of the worst of the results that the oracle knows; one that is missing is that."""
    if len(got) < len(expected):
        return _Errors(math.inf, math.inf, 0.0)
    each = map(_errors_of, got[: len(expected)], expected, allowed)
    return max(each, key=lambda one: one.share)


def _errors_of(got: torch.Tensor, expected: torch.Tensor, allowed: torch.Tensor) -> _Errors:
    error = errors(got, expected)
    # Where no error is allowed (a row of zeros), any error has an infinite share.
    share = torch.where(error == 0, 0.0, error / allowed)
    share = share.nan_to_num(nan=torch.inf, posinf=torch.inf)
    at = int(share.argmax())
    return _Errors(float(error.max()), float(share.flatten()[at]), float(allowed.flatten()[at]))


def _percent(share: float) -> str:
    """``93%``; words where no error is allowed and there is one."""
    return f"{share:.0%}" if math.isfinite(share) else "over a bound of 0"


def _largest(errors: list[_Errors]) -> str:
    return f"{max(one.largest for one in errors):.3g}"


def _hit(variant: Variant, found: _Errors) -> Hit:
    if math.isnan(found.largest):
        said = "a result that is not a number"
    elif math.isinf(found.share) or found.allowed == 0:
        said = f"error up to {found.largest:.3g}, also where the result has to be exact"
    else:
        allowed = f"{found.allowed:.3g} allowed there"
        said = f"error {found.largest:.3g}, {found.share:.3g} times the {allowed}"
    return Hit("wrong-answer", f"{variant.name}: {said}")


def _raised(variant: Variant, got: Answer) -> Finding:
    reason = f"a plain step ({variant.name}) raised {got.error}"
    return Finding("precision", Verdict.INCONCLUSIVE, reason, not_proved=NOT_PROVED)
