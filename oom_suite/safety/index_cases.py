"""Indices and lens as a step may meet them, and as it never should: one case each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.safety.guarded import POOLS
from oom_suite.safety.steps import SMALL, make_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.safety.steps import Target

VALID, OPTIONAL, IMPOSSIBLE = "valid", "optional", "impossible"
"""What is expected of a step.

``valid``: the oracle's answer. ``optional`` (a dtype, a stride, an empty batch): the oracle's
answer, or an error. ``impossible``: anything that touches no memory outside.
"""

_LAST_SLOT = {"pattern": "contiguous", "swa_topk": 16, "extra_topk": 16, "num_blocks": 6}
"""Three rows of sixteen slots are all of a pool of six blocks of eight."""


@dataclass(frozen=True, slots=True)
class IndexCase:
    """One kind of indices or lens.

    Attributes:
        name: for the reader.
        expects: ``VALID``, ``OPTIONAL`` or ``IMPOSSIBLE``.
        options: fields of `StepOptions` that differ from the usual.
        edit: changes a step made with them; None to leave it.
    """

    name: str
    expects: str
    options: Mapping[str, Any] = field(default_factory=dict)
    edit: Callable[[dict[str, Any]], None] | None = None


def make_case(target: Target, case: IndexCase) -> tuple[dict[str, Any], dict[str, Any]]:
    """The step of a case, and the same with everything impossible ignored.

    Ignored means: a slot that the pool does not have is padding, and a length that the row does
    not have is the nearest that it has.
    """
    layer_kind = "swa_only" if target.workload == "decode-swa" else "c4a"
    options = replace(SMALL, layer_kind=layer_kind, fp8_dtype=target.fp8_dtype, seed=5)
    step = make_step(target, replace(options, **case.options))
    if case.edit is not None:
        case.edit(step)
    sane = dict(step)
    for pool, indices, lens in _pools(step):
        slots = step[indices]
        num_slots = step[pool].shape[0] * step[pool].shape[1]
        sane[indices] = slots.masked_fill((slots < 0) | (slots >= num_slots), -1)
        sane[lens] = step[lens].clamp(0, slots.shape[-1])
    return step, sane


def _pools(step: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [names for names in POOLS if step[names[0]] is not None]


def _each_indices(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], None]:
    def edit(step: dict[str, Any]) -> None:
        for _, indices, _ in _pools(step):
            step[indices] = change(step[indices])

    return edit


def _each_lens(change: Callable[[torch.Tensor, int], torch.Tensor]) -> Callable[[Any], None]:
    def edit(step: dict[str, Any]) -> None:
        for _, indices, lens in _pools(step):
            step[lens] = change(step[lens], step[indices].shape[-1])

    return edit


def _one_slot(of_pool: Callable[[int], int]) -> Callable[[Any], None]:
    """The second entry of the middle row names this slot."""

    def edit(step: dict[str, Any]) -> None:
        for pool, indices, _ in _pools(step):
            num_slots = step[pool].shape[0] * step[pool].shape[1]
            step[indices][1, ..., 1] = of_pool(num_slots)

    return edit


def _interleaved(slots: torch.Tensor) -> torch.Tensor:
    """Every other column of a wider tensor; between them stand other slots of the pool."""
    wide = torch.stack([slots, slots.flip(0)], dim=-1).flatten(-2)
    return wide[..., ::2]


def _column_major(slots: torch.Tensor) -> torch.Tensor:
    return slots.transpose(0, -1).contiguous().transpose(0, -1)


CASES = (
    IndexCase("-1 anywhere", VALID, {"padding": "anywhere"}),
    IndexCase("-1 in whole rows", VALID, {"padding": "rows"}),
    IndexCase("lens zero", VALID, {"lens": "zero"}),
    IndexCase("lens zero without sink", VALID, {"lens": "zero", "sink": False}),
    IndexCase("lens from zero to all", VALID, {"lens": "mixed", "padding": "tail"}),
    IndexCase("last slot of the last block", VALID, _LAST_SLOT),
    IndexCase("int64 indices", OPTIONAL, edit=_each_indices(torch.Tensor.long)),
    IndexCase("int64 lens", OPTIONAL, edit=_each_lens(lambda lens, _: lens.long())),
    IndexCase("strided indices", OPTIONAL, edit=_each_indices(_interleaved)),
    IndexCase("column-major indices", OPTIONAL, edit=_each_indices(_column_major)),
    IndexCase("empty batch", OPTIONAL, {"num_tokens": 0}),
    IndexCase("slot -2", IMPOSSIBLE, edit=_one_slot(lambda _: -2)),
    IndexCase("slot -2**31", IMPOSSIBLE, edit=_one_slot(lambda _: -(2**31))),
    IndexCase("slot one beyond the pool", IMPOSSIBLE, edit=_one_slot(lambda num: num)),
    IndexCase("slot 2**31-1", IMPOSSIBLE, edit=_one_slot(lambda _: 2**31 - 1)),
    IndexCase(
        "lens one beyond the width",
        IMPOSSIBLE,
        edit=_each_lens(lambda lens, width: torch.full_like(lens, width + 1)),
    ),
    IndexCase(
        "lens far beyond the width",
        IMPOSSIBLE,
        edit=_each_lens(lambda lens, width: torch.full_like(lens, 4 * width)),
    ),
    IndexCase("lens -1", IMPOSSIBLE, edit=_each_lens(lambda lens, _: torch.full_like(lens, -1))),
)
"""All cases; the impossible ones last, for on a GPU one of them may end the process."""
