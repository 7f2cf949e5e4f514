"""What a detector is given, and the small steps that it runs the code under test on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch

from oom_suite.workloads.sparse_mla.step import StepOptions, random_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from oom_suite.records.safety import Finding


@dataclass(frozen=True, slots=True)
class Target:
    """The code under test and where it runs, which is a child process of its own.

    Attributes:
        call: takes the fourteen keywords of a decode step and writes ``output``.
        root: the folder that its source paths are shown relative to.
        workload: ``"decode"`` or ``"decode-swa"``.
        device: where real tensors lie.
        fp8_dtype: the fp8 that the caches hold.
    """

    call: Callable[..., Any]
    root: Path
    workload: str
    device: torch.device
    fp8_dtype: torch.dtype


class Detector(Protocol):
    """Looks for breaches of one property; does not raise, whatever the code under test does."""

    name: str
    """One of `oom_suite.records.safety.PROPERTIES`."""

    def __call__(self, target: Target) -> Finding:
        """The verdict on that property."""


SMALL = StepOptions(num_tokens=3, num_heads=8, swa_topk=16, extra_topk=24, num_blocks=24)
"""Small enough for milliseconds on a CPU, and more than one of everything."""

_LAYERS = (
    replace(SMALL, layer_kind="c4a", lens="mixed", padding="anywhere", padded=True, seed=1),
    replace(
        SMALL, layer_kind="c128a", pattern="one_token_per_block", lens="short", sink=False, seed=2
    ),
    replace(SMALL, layer_kind="swa_only", pattern="shared_prefix", lens="mixed", seed=3),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call gave.

    Attributes:
        output: bfloat16 [num_tokens, num_heads, head_dim], a copy; None where the call raised.
        error: what it raised, as ``Type: first line``; empty where it returned.
    """

    output: torch.Tensor | None
    error: str = ""

    def __eq__(self, other: object) -> bool:
        """Whether both gave the same bits, or raised the same."""
        if not isinstance(other, Answer):
            return NotImplemented
        if self.output is None or other.output is None:
            return self.output is other.output and self.error == other.error
        return same_bits(self.output, other.output)

    __hash__ = None  # type: ignore[assignment]  # equality of bits has no cheap hash


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two bfloat16 tensors hold the same bits; NaN equals the same NaN."""
    return torch.equal(left.view(torch.int16), right.view(torch.int16))


def options_for(target: Target) -> tuple[StepOptions, ...]:
    """The steps that a detector tries: each layer kind of the workload once."""
    wanted = {"swa_only"} if target.workload == "decode-swa" else {"swa_only", "c4a", "c128a"}
    return tuple(
        replace(options, fp8_dtype=target.fp8_dtype)
        for options in _LAYERS
        if options.layer_kind in wanted
    )


def make_step(target: Target, options: StepOptions) -> dict[str, Any]:
    """The keyword arguments of that step, on the target's device."""
    return random_step(options, target.device)


def answer(target: Target, step: Mapping[str, Any]) -> Answer:
    """What the code under test writes into ``output``, or raises.

    ``output`` itself is left as the call left it. An error of a GPU shows here, not later.
    """
    try:
        with torch.no_grad():
            target.call(**step)
        if target.device.type == "cuda":
            torch.cuda.synchronize(target.device)
        return Answer(step["output"].clone())
    except Exception as error:
        lines = str(error).strip().splitlines()
        return Answer(None, f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "))


def described(options: StepOptions) -> str:
    """A step in words, for hits and facts."""
    return f"{options.layer_kind}/{options.pattern}/{str(options.fp8_dtype).removeprefix('torch.')}"
