"""The steps of a creep run: warm-up, contexts that grow, and a long steady stretch."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP = "warm-up"
GROWING = "growing"
STEADY = "steady"

_BATCHES = (64, 48, 24, 8, 1, 32)
"""Batches of a cycle: they fall and rise, and the largest comes first."""
_SMALL_BATCHES = (6, 4, 3, 2, 1, 5)
_WARM_UP_CYCLES = 2
_NUM_GROWING = 16
_EXTRA_TOPK = 128
_GROWTH = 32
NUM_STEADY = 102
"""Steady steps that are run by default: 17 cycles, so that every hundredth call is among them."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """The sizes that change from step to step.

    Attributes:
        num_tokens: requests of the batch, one token each.
        extra_topk: entries of a row of the compressed pool; grows with the context.
    """

    num_tokens: int
    extra_topk: int


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step.

    Attributes:
        phase: ``warm-up``, ``growing`` or ``steady``.
        shape: its sizes.
        variant: which of the prepared contents is written into its index buffers.
    """

    phase: str
    shape: StepShape
    variant: int


NUM_VARIANTS = 4
"""Contents of the index buffers: block tables reshuffled, and lengths that grow."""

CYCLE = len(_BATCHES)
"""Steps after which the steady shapes come again."""


def planned(
    workload: str,
    num_steady: int = NUM_STEADY,
    *,
    small: bool = False,
    grows: bool = True,
) -> list[PlannedStep]:
    """The steps in their order.

    Every steady shape has been seen twice before the growing steps, each of which has a longer
    context than any before it. A layer of a sliding window alone has none: its width is fixed.

    Args:
        workload: ``"decode"`` or ``"decode-swa"``.
        num_steady: steady steps; whole cycles of `CYCLE` are made of them.
        small: whether real tensors on a CPU are to be computed.
        grows: whether there are steps with ever longer contexts.
    """
    batches = _SMALL_BATCHES if small else _BATCHES
    base = [StepShape(num_tokens, _EXTRA_TOPK) for num_tokens in batches]
    longer = [
        StepShape(batches[step % CYCLE], _EXTRA_TOPK + _GROWTH * (step + 1))
        for step in range(_NUM_GROWING if grows and workload == "decode" else 0)
    ]
    num_cycles = -(-num_steady // CYCLE)
    shapes = [
        *((WARM_UP, shape) for shape in base * _WARM_UP_CYCLES),
        *((GROWING, shape) for shape in longer),
        *((STEADY, shape) for shape in base * num_cycles),
    ]
    return [
        PlannedStep(phase, shape, number % NUM_VARIANTS)
        for number, (phase, shape) in enumerate(shapes)
    ]
