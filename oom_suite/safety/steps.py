"""What a detector is given, and the small steps that it runs the code under test on.

All that depends on the workload comes in here: its pools, its variants, its oracle.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from oom_suite.operators.operands import tensors
from oom_suite.records import Verdict
from oom_suite.records.safety import Finding
from oom_suite.workloads.variants import Variants

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from oom_suite.records import Workload
    from oom_suite.workloads.variants import Variant


@dataclass(frozen=True, slots=True)
class Target:
    """The code under test and where it runs, which is a child process of its own.

    Attributes:
        call: takes the keywords of the workload's convention.
        root: the folder that its source paths are shown relative to.
        workload: what it is called for.
        device: where real tensors lie.
        arch: the GPU that it sees; ``"generic"`` for one of no particular kind.
    """

    call: Callable[..., Any]
    root: Path
    workload: Workload
    device: torch.device
    arch: str = "generic"

    @property
    def variants(self) -> Variants:
        """The workload's steps; where it has none, what follows from the workload alone."""
        return variants_of(self.workload)

    @property
    def gradients(self) -> Callable[[], Any]:
        """What calls are made under: with gradients or, as a server decodes, without."""
        convention = self.workload.convention
        has_them = convention is not None and convention.gradients
        return torch.enable_grad if has_them else torch.no_grad


class Detector(Protocol):
    """Looks for breaches of one property; does not raise, whatever the code under test does."""

    name: str
    """One of `oom_suite.records.safety.PROPERTIES`."""
    needs: tuple[str, ...]
    """What the workload must have: ``variants``, ``pools``, ``oracle``, ``tolerance``."""

    def __call__(self, target: Target) -> Finding:
        """The verdict on that property."""


def find(detector: Detector, target: Target) -> Finding:
    """The detector's verdict; what it cannot look at for want of a facet is not green."""
    missing = missing_facet(detector, target.workload)
    if missing:
        reason = f"not applicable: the workload {target.workload.name} has no {missing}"
        return Finding(detector.name, Verdict.INCONCLUSIVE, reason)
    return detector(target)


def missing_facet(detector: Detector, workload: Workload) -> str:
    """The first facet that the detector needs and the workload has not; empty for none."""
    return next((facet for facet in detector.needs if not getattr(workload, facet)), "")


@functools.cache
def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def variants_of(workload: Workload) -> Variants:
    """The workload's steps; where it has none, what follows from the workload alone."""
    return cast("Variants", _named(workload.variants)) if workload.variants else Variants()


def builder_of(workload: Workload) -> Callable[[Mapping[str, int], torch.device], dict[str, Any]]:
    """What builds the workload's keyword arguments, without contents."""
    return cast("Callable[..., dict[str, Any]]", _named(workload.builder))


def plain_steps(target: Target) -> Sequence[Variant]:
    """The steps that most detectors try."""
    return target.variants.plain(target.workload, target.device, target.arch)


def oracle(target: Target, step: Mapping[str, Any], variant: Variant) -> tuple[torch.Tensor, ...]:
    """What the step must give, in float64 on the CPU: its first results, in their order."""
    return _several(_named(target.workload.oracle)(step, **variant.oracle_arguments))


def _several(given: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return given if isinstance(given, tuple) else (given,)


def errors(got: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """How far each value is from the oracle's: float64 on the CPU; 0 where both are infinite.

    A result of another shape is infinitely far from it.
    """
    if got.shape != expected.shape:
        return torch.full_like(expected, torch.inf)
    found = got.cpu().to(torch.float64)
    return torch.where(found == expected, 0.0, (found - expected).abs())


def tolerance(
    target: Target, step: Mapping[str, Any], expected: tuple[torch.Tensor, ...], variant: Variant
) -> tuple[torch.Tensor, ...]:
    """How far from that correct results may be, in float64 on the CPU."""
    given = expected if len(expected) > 1 else expected[0]
    return _several(_named(target.workload.tolerance)(step, given, **variant.oracle_arguments))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call gave.

    Attributes:
        outputs: copies of the tensors that it wrote or returned; None where it raised.
        error: what it raised, as ``Type: first line``; empty where it returned.
    """

    outputs: tuple[torch.Tensor, ...] | None
    error: str = ""

    @property
    def output(self) -> torch.Tensor | None:
        """The first of them; None where the call raised."""
        return self.outputs[0] if self.outputs else None

    def __eq__(self, other: object) -> bool:
        """Whether both gave the same bits, or raised the same."""
        if not isinstance(other, Answer):
            return NotImplemented
        if self.outputs is None or other.outputs is None:
            return self.outputs is other.outputs and self.error == other.error
        return len(self.outputs) == len(other.outputs) and all(
            map(same_bits, self.outputs, other.outputs)
        )

    __hash__ = None  # type: ignore[assignment]  # equality of bits has no cheap hash


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors hold the same bits; NaN equals the same NaN."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return torch.equal(bits(left), bits(right))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's bytes: uint8 [numel * element_size]."""
    return tensor.detach().contiguous().flatten().view(torch.uint8)


def output_of(workload: Workload) -> str:
    """The keyword of the tensor that a call writes; empty where it returns its result."""
    return workload.convention.output if workload.convention is not None else ""


def answer(target: Target, step: Mapping[str, Any]) -> Answer:
    """What the code under test writes into its output or returns, or raises.

    The output itself is left as the call left it. An error of a GPU shows here, not later.
    """
    try:
        with target.gradients():
            returned = target.call(**step)
        if target.device.type == "cuda":
            torch.cuda.synchronize(target.device)
        written = output_of(target.workload)
        outputs = tuple(tensors(step[written] if written else returned))
        if not outputs:
            return Answer(None, "it returned no tensor, and its workload names no output")
        own = tuple(one.detach().clone() for one in outputs)
        return Answer(target.variants.counted(step, own))
    except Exception as error:
        lines = str(error).strip().splitlines()
        return Answer(None, f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "))
