"""Margin losses on CUDA: copies of what is not in rows, and the loss of each row.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/MultiMarginLoss.cu`` and
``MultiLabelMarginCriterion.cu``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.reductions import summed
from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step


def _copies(call: Call, **given: Any) -> list[Take]:
    return [
        Take(name, num_bytes(each), call.op)
        for name, each in given.items()
        if each is not None and not each.is_contiguous()
    ]


def _of_rows(call: Call, reduction: int) -> list[Step]:
    """A loss for each row, and their sum, where there are rows and a sum is wanted."""
    source = call.input
    if source.dim() < 2 or not reduction:
        return []
    losses = torch.empty(source.shape[0], dtype=source.dtype, device="meta")
    reduced = summed(losses, None, source.dtype, call)
    return [Take("losses", num_bytes(losses), call.op), *reduced, Give("losses")]


def _multi_margin(call: Call) -> Iterable[Step]:
    if not call.input.numel():
        return list(call.results())
    weight = call.argument(4, "weight")
    copies = _copies(call, values=call.args[0], target=call.args[1], weight=weight)
    inside = _of_rows(call, int(call.argument(5, "reduction", 1)))
    return [*call.results(), *copies, *inside, *(Give(str(each.name)) for each in reversed(copies))]


def _multilabel_margin(call: Call) -> Iterable[Step]:
    if not call.input.numel():
        return list(call.results())
    loss, is_target = call.result
    copies = _copies(call, values=call.args[0], target=call.args[1])
    marks = Take(1, is_target.untyped_storage().nbytes(), call.op)
    total = Take(0, loss.untyped_storage().nbytes(), call.op)
    inside = _of_rows(call, int(call.argument(2, "reduction", 1)))
    inside = [*inside[:1], total, *inside[1:]]
    return [*copies, marks, *inside, *(Give(str(each.name)) for each in reversed(copies))]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::multi_margin_loss": _multi_margin,
    "aten::multilabel_margin_loss_forward": _multilabel_margin,
}
