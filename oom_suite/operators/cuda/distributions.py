"""Random numbers on CUDA: probabilities in another type, deviations, keys that are sorted.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/DistributionTemplates.h`` (``bernoulli_kernel``),
``native/DistributionTemplates.h`` (``bernoulli_impl_``, ``normal_impl``, ``normal_out_impl``),
``cuda/Randperm.cu`` (``randperm_out_cuda``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda.library import sort_storage
from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_DUPLICATES = math.log(0.9) * 12
"""Of keys: none in nine of ten permutations."""

_WIDEST_NARROW = 32


def _bernoulli(call: Call) -> Iterable[Step]:
    """Probabilities are read as floats, as doubles where those are drawn."""
    given = call.argument(1, "p")
    drawn = next(tensors(call.result))
    probabilities = given if isinstance(given, torch.Tensor) else call.input
    steps: list[Step] = [*call.results()]
    is_number = isinstance(given, float | int)
    wanted = torch.float64 if drawn.dtype is torch.float64 else torch.float32
    if is_number or probabilities.dtype is wanted or not drawn.numel():
        return steps
    return [*steps, *call.temporary(probabilities.numel() * wanted.itemsize, "probabilities")]


def _normal(call: Call) -> Iterable[Step] | None:
    """Drawn around a tensor of means, or with one of deviations, which are looked at first."""
    mean, deviation = call.argument(0, "mean"), call.argument(1, "std", 1.0)
    has_mean, has_deviation = (isinstance(each, torch.Tensor) for each in (mean, deviation))
    result = next(tensors(call.result))
    if result is mean:
        return []
    if not (has_mean or has_deviation):
        return None
    if not has_deviation:
        # The deviation's shape is asked of a tensor that nobody fills.
        return [*call.results(), *call.temporary(num_bytes(result), "deviations")]
    looks: list[Step] = []
    if deviation.numel():
        looks = [
            Take("smallest", deviation.element_size(), call.op),
            Take("is valid", 1, call.op),
        ]
    gives = [Give("is valid"), Give("smallest")] if looks else []
    number = [] if has_mean else list(call.temporary(result.element_size(), "mean"))
    return [*looks, *call.results(), *number, *gives]


def _randperm(call: Call) -> Iterable[Step] | None:
    """A range, sorted by random keys that have as many bits as keep them different."""
    result = next(tensors(call.result))
    count, width = result.numel(), result.element_size()
    if not count:
        return list(call.results())
    bits = math.ceil(math.log2(count - (6.0 * count * count + 1) / _DUPLICATES))
    key_bytes = 4 if bits <= _WIDEST_NARROW else 8
    storage = sort_storage(call.kernels, count, key_bytes, width, min(64, bits))
    if storage is None:
        return None
    keys = [Take(name, count * key_bytes, call.op) for name in ("keys", "sorted keys")]
    return [
        *call.results(),
        Take("range", count * width, call.op),
        *keys,
        *storage.steps(),
        *(Give(name) for name in ("sorted keys", "keys", "range")),
    ]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::bernoulli": _bernoulli,
    "aten::normal": _normal,
    "aten::randperm": _randperm,
}
