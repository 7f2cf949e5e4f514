"""Operators whose results keep more storage on a CPU than their shapes say, or less.

Source: PyTorch 2.13 ``aten/src/ATen/native/Loss.cpp`` (``binary_cross_entropy_out_cpu``,
``soft_margin_loss_out``, the structured ``mse_loss`` and ``smooth_l1_loss``: a result as large as
the losses shrinks in its shape alone), ``BatchLinearAlgebra.cpp`` (``linalg_lstsq_out_info``: the
solution is the upper part of what it was solved in), ``EmbeddingBag.cpp`` (``is_fast_path``,
``make_offset2bag_out``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_SUM = 0
_PLACES = 1


def inside(call: Call) -> tuple[Step, ...] | None:
    """What a call requests on a CPU where its results' shapes do not say it; else None."""
    found = _FORMULAS.get(call.op)
    steps = None if found is None else found(call)
    return None if steps is None else tuple(steps)


def _loss(position: int) -> Callable[[Call], Iterable[Step] | None]:
    """The result was as large as the input, whose losses were in it."""

    def steps(call: Call) -> Iterable[Step] | None:
        if not call.argument(position, "reduction", 1):
            return None
        return [Take(0, num_bytes(call.input), call.op)]

    return steps


def _broadcast_loss(position: int) -> Callable[[Call], Iterable[Step] | None]:
    """The same of a loss between tensors that are broadcast and promoted."""

    def steps(call: Call) -> Iterable[Step] | None:
        if not call.argument(position, "reduction", 1):
            return None
        pair: Any = call.args[:2]
        source, other = torch.broadcast_tensors(*pair)  # type: ignore[no-untyped-call]  # untyped by torch
        width = torch.result_type(source, other).itemsize
        return [Take(0, source.numel() * width, call.op)]

    return steps


def _least_squares(call: Call) -> Iterable[Step] | None:
    solution, *others = tensors(call.result)
    rows, columns = call.input.shape[-2:]
    if rows <= columns:
        return None
    # What is solved in has a row for each equation; the solution, one for each unknown.
    whole = num_bytes(solution) // columns * rows
    rest = (Take(n, each.untyped_storage().nbytes(), call.op) for n, each in enumerate(others, 1))
    return [Take(0, whole, call.op), *rest]


def _bags(call: Call) -> Iterator[Step]:
    """The place of every index is written with one more behind it, unless bags are summed at once.

    torch's fake kernel knows of no bags of bfloat16 that are summed at once.
    """
    weight, weights = call.input, call.argument(6, "per_sample_weights")
    is_sum = call.argument(4, "mode", _SUM) == _SUM
    is_fast = is_sum and int(call.argument(8, "padding_idx", -1)) < 0 and weight.stride(1) == 1
    is_fast = is_fast and (weights is None or weights.stride(0) == 1)
    for number, tensor in enumerate(tensors(call.result)):
        size = tensor.untyped_storage().nbytes()
        if number == _PLACES and tensor.numel():
            is_left_out = is_fast and weight.dtype is torch.bfloat16
            size = 0 if is_left_out else size + tensor.element_size()
        yield Take(number, size, call.op)


_FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::binary_cross_entropy": _loss(3),
    "aten::soft_margin_loss": _loss(2),
    "aten::mse_loss": _broadcast_loss(2),
    "aten::smooth_l1_loss": _broadcast_loss(2),
    "aten::linalg_lstsq": _least_squares,
    "aten::_embedding_bag": _bags,
    "aten::_embedding_bag_forward_only": _bags,
}
