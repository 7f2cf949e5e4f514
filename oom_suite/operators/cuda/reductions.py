"""Reductions on CUDA: a copy where the type changes, partial results that blocks share.

Source: PyTorch 2.13 ``aten/src/ATen/native/ReduceOps.cpp``, ``make_reduction``,
``count_nonzero_cuda``; ``native/ReduceOpsUtils.h``; ``cuda/ReduceSumProdKernel.cu``,
``ReduceMomentKernel.cu``, ``ReduceNormKernel.cu``, ``ReduceMaxValuesKernel.cu``,
``ReduceArgMaxKernel.cu``, ``ReduceLogicKernel.cu``, ``ReduceAMinMaxKernel.cu``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.reduce_config import Reduction, shared_bytes
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oom_suite.operators.kernels import Call, Kernels
    from oom_suite.operators.steps import Step

    Formula = Callable[[Call], Iterable[Step] | None]

_LOW = frozenset({torch.float16, torch.bfloat16})
PAIR_BYTES = 16
_WELFORD_BYTES = 16


def partial_results(
    source: torch.Tensor, dims: Any, reduction: Reduction, kernels: Kernels, op: str
) -> Iterator[Step]:
    """What the blocks of one reduction share while it runs."""
    found = shared_bytes(source, _dims(source, dims), reduction, kernels)
    if found is None:
        return
    yield Take("partial results", found[0], op)
    yield Take("semaphores", found[1], op)
    yield Give("semaphores")
    yield Give("partial results")


def reduced_as(source: torch.Tensor, dtype: torch.dtype) -> tuple[torch.dtype, bool]:
    """In what a sum runs whose result has that type, and whether its input is copied to it."""
    is_widened = source.dtype in _LOW and dtype is torch.float32
    wanted = source.dtype if is_widened else dtype
    return wanted, wanted is not source.dtype


def summed(
    source: torch.Tensor, dims: Any, dtype: torch.dtype, call: Call, low_vector: int = 8
) -> Iterator[Step]:
    """A sum or a mean into a result that is there."""
    wanted, is_copied = reduced_as(source, dtype)
    if not source.numel():
        return
    if is_copied:
        yield Take("copy", source.numel() * wanted.itemsize, call.op)
        source = torch.empty_like(source, dtype=wanted, device="meta")
    vector = low_vector if wanted in _LOW else 4
    accumulated = Reduction(_sum_bytes(wanted), vector)
    yield from partial_results(source, dims, accumulated, call.kernels, call.op)
    if is_copied:
        yield Give("copy")


def _sum_bytes(dtype: torch.dtype) -> int:
    return 4 if dtype in _LOW else dtype.itemsize


def _dims(source: torch.Tensor, dims: Any) -> frozenset[int]:
    every = frozenset(range(source.dim()))
    if dims is None:
        return every
    given = [dims] if isinstance(dims, int) else list(dims)
    return frozenset(dim % source.dim() for dim in given) if given and source.dim() else every


def _of_sum(call: Call) -> Iterator[Step]:
    dims = call.argument(1, "dim")
    dims = None if isinstance(dims, torch.dtype) else dims
    yield from call.results()
    yield from summed(call.input, dims, _result(call).dtype, call)


def _of_product(call: Call) -> Iterator[Step]:
    dims = call.argument(1, "dim")
    yield from call.results()
    dims = dims if isinstance(dims, int) else None
    yield from summed(call.input, dims, _result(call).dtype, call, low_vector=4)


def _of_count(call: Call) -> Iterator[Step]:
    source = call.input
    is_compared = source.dtype is not torch.bool
    if is_compared:
        yield Take("not zero", source.numel(), call.op)
        source = torch.empty_like(source, dtype=torch.bool, device="meta")
    yield from call.results()
    yield from summed(source, call.argument(1, "dim"), torch.int64, call)
    if is_compared:
        yield Give("not zero")


def _with(
    partial_bytes: Callable[[torch.dtype], int], *, has_dim: bool, vector: int = 4
) -> Formula:
    """A reduction whose partial results have that size, over ``dim`` or over everything."""

    def steps(call: Call) -> Iterator[Step]:
        reduction = Reduction(partial_bytes(call.input.dtype), vector)
        dims = call.argument(1, "dim") if has_dim else None
        # std(unbiased) and any() have no dimension at that place.
        dims = None if isinstance(dims, (bool, torch.dtype)) else dims
        yield from call.results()
        if call.input.numel():
            yield from partial_results(call.input, dims, reduction, call.kernels, call.op)

    return steps


def _of_norm(call: Call) -> Iterable[Step] | None:
    if call.argument(4, "dtype") not in {None, call.input.dtype}:
        return None
    # The dimensions stand third, after the order.
    dims, accumulated = call.argument(2, "dim"), Reduction(_sum_bytes(call.input.dtype))
    shared = partial_results(call.input, dims, accumulated, call.kernels, call.op)
    return [*call.results(), *shared]


def _of_extreme(call: Call) -> Iterable[Step] | None:
    if isinstance(call.result, torch.Tensor):
        return _with(_itself, has_dim=False)(call)
    # Along a dimension each value has its place beside it.
    return _with(_pair, has_dim=True)(call)


def _result(call: Call) -> torch.Tensor:
    return next(tensors(call.result))


def _itself(dtype: torch.dtype) -> int:
    return dtype.itemsize


def _two(dtype: torch.dtype) -> int:
    return 2 * dtype.itemsize


def _pair(_dtype: torch.dtype) -> int:
    return PAIR_BYTES


def _truth(_dtype: torch.dtype) -> int:
    return 1


def _welford(dtype: torch.dtype) -> int:
    return _WELFORD_BYTES if dtype.itemsize <= 4 else 2 * _WELFORD_BYTES


FORMULAS: dict[str, Formula] = {
    "aten::sum": _of_sum,
    "aten::mean": _of_sum,
    "aten::nansum": _of_product,
    "aten::prod": _of_product,
    "aten::count_nonzero": _of_count,
    "aten::amax": _with(_itself, has_dim=True),
    "aten::amin": _with(_itself, has_dim=True),
    "aten::argmax": _with(_pair, has_dim=True),
    "aten::argmin": _with(_pair, has_dim=True),
    "aten::max": _of_extreme,
    "aten::min": _of_extreme,
    "aten::any": _with(_truth, has_dim=True),
    "aten::all": _with(_truth, has_dim=True),
    "aten::aminmax": _with(_two, has_dim=True),
    "aten::std": _with(_welford, has_dim=True, vector=2),
    "aten::var": _with(_welford, has_dim=True, vector=2),
    "aten::std_mean": _with(_welford, has_dim=True, vector=2),
    "aten::var_mean": _with(_welford, has_dim=True, vector=2),
    "aten::linalg_vector_norm": _of_norm,
    "aten::norm": _of_norm,
}
