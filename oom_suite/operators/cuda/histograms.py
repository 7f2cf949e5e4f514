"""Histograms on CUDA: the smallest and the largest value, which are looked at first.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/SummaryOps.cu`` (``_bincount_cuda_template``,
``_histc_cuda_template``): blocks count in shared memory, or in the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda.reduce_config import Reduction
from oom_suite.operators.cuda.reductions import partial_results
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step


def _extreme(call: Call, name: str) -> list[Step]:
    """One reduction over all, whose result the host reads."""
    width = call.input.element_size()
    reduced = partial_results(call.input, None, Reduction(width), call.kernels, call.op)
    return [Take(name, width, call.op), *reduced, Give(name)]


def _histc(call: Call) -> Iterable[Step]:
    """Where no range is given, the values are looked at for one."""
    is_given = call.argument(2, "min", 0) != call.argument(3, "max", 0)
    steps: list[Step] = [*call.results()]
    if call.input.numel() and not is_given:
        steps += [*_extreme(call, "smallest"), *_extreme(call, "largest")]
    return steps


def _bincount(call: Call) -> Iterable[Step] | None:
    source, weights = call.input, call.argument(1, "weights")
    if not source.numel():
        return list(call.results())
    is_widened = weights is not None and weights.dtype not in {torch.float32, torch.float64}
    wide = [Take("weights", weights.numel() * 8, call.op)] if is_widened else []
    smallest = [] if source.dtype is torch.uint8 else _extreme(call, "smallest")
    looks = [*smallest, *_extreme(call, "largest")]
    return [*wide, *looks, *call.results(), *(Give("weights") for _ in wide)]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::histc": _histc,
    "aten::bincount": _bincount,
}
