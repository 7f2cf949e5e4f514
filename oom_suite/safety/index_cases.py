"""Indices and lens as a step may meet them, and as it never should: one case each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.safety.poison import num_names, pools_of, width
from oom_suite.safety.steps import variants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oom_suite.records import Workload
    from oom_suite.records.workload import Pool
    from oom_suite.safety.steps import Target
    from oom_suite.workloads.variants import Variant

    Step = dict[str, Any]
    Change = Callable[[Step, Pool], None]

VALID, OPTIONAL, IMPOSSIBLE = "valid", "optional", "impossible"
"""What is expected of a step.

``valid``: the oracle's answer. ``optional`` (a dtype, a stride, an empty batch): the oracle's
answer, or an error. ``impossible``: anything that touches no memory outside.
"""


@dataclass(frozen=True, slots=True)
class IndexCase:
    """One kind of indices or lens.

    Attributes:
        name: for the reader.
        expects: ``VALID``, ``OPTIONAL`` or ``IMPOSSIBLE``.
        variant: the step that it begins with; None for the workload's usual one.
        change: changes the indices or lens of one pool of the step; None to leave it.
    """

    name: str
    expects: str
    variant: Variant | None = None
    change: Change | None = None


def cases_of(workload: Workload, device: torch.device, arch: str) -> tuple[IndexCase, ...]:
    """All cases of a workload; the impossible ones last, as they may be deadly."""
    own = variants_of(workload).index_variants(workload, device, arch)
    unusual = [
        IndexCase(one.name, VALID if one.is_required else OPTIONAL, one.variant) for one in own
    ]
    order = (VALID, OPTIONAL, IMPOSSIBLE)
    return tuple(sorted((*unusual, *CHANGES), key=lambda one: order.index(one.expects)))


def make_case(target: Target, case: IndexCase) -> tuple[Variant, Step, Step]:
    """The variant and the step of a case, and the same with everything impossible ignored.

    Ignored means: an index that the pool does not have is padding, and a length that the row does
    not have is the nearest that it has.
    """
    usual = target.variants.for_indices
    variant = case.variant or usual(target.workload, target.device, target.arch)
    step = variant.make()
    pools = pools_of(target.workload.pools, step)
    if case.change is not None:
        for pool in pools:
            case.change(step, pool)
    sane = dict(step)
    for pool in pools:
        indices = step[pool.indices]
        outside = (indices < 0) | (indices >= num_names(pool, step))
        sane[pool.indices] = indices.masked_fill(outside, -1)
        if pool.lens:
            sane[pool.lens] = step[pool.lens].clamp(0, width(pool, step))
    return variant, step, sane


def _indices(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    def changed(step: Step, pool: Pool) -> None:
        step[pool.indices] = change(step[pool.indices])

    return changed


def _lens(change: Callable[[torch.Tensor, int], torch.Tensor]) -> Change:
    def changed(step: Step, pool: Pool) -> None:
        if pool.lens:
            step[pool.lens] = change(step[pool.lens], width(pool, step))

    return changed


def _one_index(of_pool: Callable[[int], int]) -> Change:
    """The second entry of the second row, or another that counts where that does not, is this."""

    def changed(step: Step, pool: Pool) -> None:
        row, entry = _counting_entry(step, pool)
        indices = step[pool.indices]
        place = (row,) if indices.dim() == 1 else (row, ..., entry)
        indices[place] = of_pool(num_names(pool, step))

    return changed


def _counting_entry(step: Step, pool: Pool) -> tuple[int, int]:
    rows = step[pool.indices]
    of_entry = 1 if pool.names == "slots" else step[pool.name].shape[1]
    whole = [width(pool, step)] * len(rows)
    lens = step[pool.lens].flatten().tolist() if pool.lens else whole
    able = [number for number, length in enumerate(lens) if length > of_entry]
    row = 1 if 1 in able else able[0] if able else lens.index(max(lens))
    return row, 1 if able else 0


def _interleaved(indices: torch.Tensor) -> torch.Tensor:
    """Every other column of a wider tensor; between them stand other indices of the pool."""
    wide = torch.stack([indices, indices.flip(0)], dim=-1).flatten(-2)
    return wide[..., ::2]


def _column_major(indices: torch.Tensor) -> torch.Tensor:
    return indices.transpose(0, -1).contiguous().transpose(0, -1)


CHANGES: Sequence[IndexCase] = (
    IndexCase("int64 indices", OPTIONAL, change=_indices(torch.Tensor.long)),
    IndexCase("int64 lens", OPTIONAL, change=_lens(lambda lens, _: lens.long())),
    IndexCase("strided indices", OPTIONAL, change=_indices(_interleaved)),
    IndexCase("column-major indices", OPTIONAL, change=_indices(_column_major)),
    IndexCase("slot -2", IMPOSSIBLE, change=_one_index(lambda _: -2)),
    IndexCase("slot -2**31", IMPOSSIBLE, change=_one_index(lambda _: -(2**31))),
    IndexCase("slot one beyond the pool", IMPOSSIBLE, change=_one_index(lambda num: num)),
    IndexCase("slot 2**31-1", IMPOSSIBLE, change=_one_index(lambda _: 2**31 - 1)),
    IndexCase(
        "lens one beyond the width",
        IMPOSSIBLE,
        change=_lens(lambda lens, most: torch.full_like(lens, most + 1)),
    ),
    IndexCase(
        "lens far beyond the width",
        IMPOSSIBLE,
        change=_lens(lambda lens, most: torch.full_like(lens, 4 * most)),
    ),
    IndexCase("lens -1", IMPOSSIBLE, change=_lens(lambda lens, _: torch.full_like(lens, -1))),
)
"""What can be done to the indices and lens of any step."""
