"""Sorts, top-k and sampling on CUDA: index ranges, second buffers, the sort's own storage.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/Sort.cpp``, ``Sort.h``, ``SortStable.cu``,
``TensorTopK.cpp``, ``TensorTopK.cu``, ``MultinomialKernel.cu``; ``native/Distributions.cpp``,
``multinomial_out``; ``aten/src/ATen/cuda/cub.cuh``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.cuda.cub import SORT
from oom_suite.operators.cuda.library import keyed_sum_storage, segmented_sort_storage, sort_storage
from oom_suite.operators.cuda.reduce_config import Reduction
from oom_suite.operators.cuda.reductions import PAIR_BYTES, partial_results
from oom_suite.operators.kernels import ceil_div, num_bytes
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oom_suite.operators.cuda.library import Storage
    from oom_suite.operators.kernels import Call, Kernels
    from oom_suite.operators.steps import Step

_INDEX_BYTES = 8
_SMALL_SORT = 4096
_LARGE_SEGMENT = 1_000_000
_FEW_SEGMENTS = 128
_LONG_ROW = 10_000
_MOST_AT_ONCE = 2**31 - 1
_NUM_DIGITS = 256


def sort(call: Call) -> Iterable[Step] | None:
    """The steps of a sort; None where several batches or another library's sort are needed."""
    source = call.input
    is_stable_overload = isinstance(call.argument(1, "stable"), bool) and len(call.args) > 2
    dim = call.dim(2 if is_stable_overload else 1)
    inside = sorted_inside(source, dim, call)
    return None if inside is None else [*call.results(), *inside]


def sorted_inside(source: torch.Tensor, dim: int, call: Call) -> list[Step] | None:
    """What a sort takes beside its values and indices, which are there."""
    if not source.dim() or not source.numel():
        return []
    length = source.shape[dim]
    if length <= _SMALL_SORT:
        # The indices are written from one range.
        return list(call.temporary(length * _INDEX_BYTES, "aten::arange"))
    if source.numel() > _MOST_AT_ONCE:
        return None
    steps: list[Step] = []
    is_in_place = source.is_contiguous() and source.stride(dim) == 1
    count, width = source.numel(), source.element_size()
    names = () if is_in_place else ("rows", "values", "indices")
    steps += (Take(n, count * (8 if n == "indices" else width), call.op) for n in names)
    kernel = _kernel(count // length, length, width, call.kernels)
    if kernel is None:
        return None
    steps += kernel
    steps += (Give(name) for name in reversed(names))
    return steps


def _kernel(num_segments: int, length: int, width: int, kernels: Kernels) -> list[Step] | None:
    """What the sort of so many rows takes."""
    if num_segments == 1 or length >= _LARGE_SEGMENT:
        return _within(length * _INDEX_BYTES, sort_storage(kernels, length, width, _INDEX_BYTES))
    count = num_segments * length
    if num_segments >= _FEW_SEGMENTS:
        storage = segmented_sort_storage(kernels, num_segments, count, width, _INDEX_BYTES)
        return _within(count * _INDEX_BYTES, storage)
    by_value = sort_storage(kernels, count, width, _INDEX_BYTES)
    segment_bits = max(1, (num_segments - 1).bit_length())
    by_segment = sort_storage(kernels, count, 8, 0, segment_bits)
    if by_value is None or by_segment is None:
        return None
    pair = Take("pairs", count * _INDEX_BYTES, SORT)
    inner: list[Step] = [
        Take("sorted keys", count * width, SORT),
        *by_value.steps(),
        Give("sorted keys"),
        *by_segment.steps(),
    ]
    again = Take("sorted pairs", count * _INDEX_BYTES, SORT)
    return [pair, again, *inner, Give("sorted pairs"), Give("pairs")]


def _within(range_bytes: int, storage: Storage | None) -> list[Step] | None:
    if storage is None:
        return None
    return [Take("places", range_bytes, SORT), *storage.steps(), Give("places")]


def topk(call: Call) -> Iterable[Step] | None:
    """The steps of a top-k."""
    inside = topk_inside(call.input, int(call.argument(1, "k")), call.dim(2), call)
    return None if inside is None else [*call.results(), *inside]


def topk_inside(source: torch.Tensor, k: int, dim: int, call: Call) -> list[Step] | None:
    """What a top-k takes beside its values and indices, which are there."""
    steps: list[Step] = []
    if not source.dim() or not source.numel() or not k:
        return steps
    if _is_sorted_whole(source, dim, call.kernels):
        return _sorted_whole(source, dim, call)
    is_copied = not source.is_contiguous()
    if is_copied:
        steps.append(Take("contiguous", num_bytes(source), call.op))
    length = source.shape[dim]
    num_slices = source.numel() // length
    if _is_multiblock(num_slices, length):
        steps += _multiblock(num_slices, length, source.element_size(), call)
    if is_copied:
        steps.append(Give("contiguous"))
    if k > _SMALL_SORT and call.argument(4, "sorted", default=True):
        resorted = _sorted_again(num_slices * k, source, k, dim, call)
        if resorted is None:
            return None
        steps += resorted
    return steps


def _is_sorted_whole(source: torch.Tensor, dim: int, kernels: Kernels) -> bool:
    """Whether ROCm sorts all instead: one long row.

    Source: PyTorch 2.13 ``cuda/TensorTopK.cpp``, ``should_use_sort``.
    """
    is_one_row = source.numel() >= _LONG_ROW and source.numel() == source.shape[dim]
    return kernels.backend == "rocm" and is_one_row and source.dtype is not torch.bool


def _sorted_whole(source: torch.Tensor, dim: int, call: Call) -> list[Step] | None:
    inside = sorted_inside(source, dim, call)
    if inside is None:
        return None
    values = Take("all values", num_bytes(source), call.op)
    indices = Take("all indices", source.numel() * _INDEX_BYTES, call.op)
    return [values, indices, *inside, Give("all indices"), Give("all values")]


def _is_multiblock(num_slices: int, length: int) -> bool:
    enough = [(20, 20_000), (40, 10_000), (80, 8_000), (199, 5_000), (799, 3_000), (4_000, 800)]
    least = next((least for most, least in enough if num_slices <= most), 400)
    return length >= least


def _multiblock(num_slices: int, length: int, width: int, call: Call) -> Iterator[Step]:
    """The blocks' counts of digits, and what they search for in each slice."""
    blocks_per_processor = min(65_536 // (40 * 256), 32)
    threads = call.kernels.num_multiprocessors * blocks_per_processor * 256
    items = max(4, min(ceil_div(length * num_slices, threads), 64)) * 256
    if call.kernels.backend == "rocm":
        # How many blocks a processor holds is another matter there: no block has fewer.
        items = 4 * 256
    num_blocks = num_slices * ceil_div(length, items)
    sizes = {
        "kth values": num_slices * width,
        "ks": 2 * num_slices * 4,
        "desired": 2 * num_slices * max(width, 4),
        "counts": num_blocks * _NUM_DIGITS * 2,
        "counts of slices": num_slices * _NUM_DIGITS * 4,
        "within k": num_blocks * 4,
        "kth": num_blocks * 4,
    }
    if call.kernels.backend == "rocm":
        del sizes["counts of slices"]
    is_bound = not call.kernels.has_cub
    for name, size in sizes.items():
        yield Take(name, size, call.op, is_bound)
    scan = keyed_sum_storage(call.kernels, num_blocks)
    yield from scan.steps()
    for name in reversed(sizes):
        yield Give(name)


def _sorted_again(
    count: int, source: torch.Tensor, k: int, dim: int, call: Call
) -> list[Step] | None:
    """A long result is sorted by a sort of its own."""
    shape = [k if place == dim else size for place, size in enumerate(source.shape)]
    values = torch.empty(shape, dtype=source.dtype, device="meta")
    inside = sorted_inside(values, dim, call)
    if inside is None:
        return None
    width = source.element_size()
    return [
        Take("sorted indices", count * 8, call.op),
        Take("sorted values", count * width, call.op),
        *inside,
        Take("gathered", count * 8, call.op),
        Give("gathered"),
        Give("sorted values"),
        Give("sorted indices"),
    ]


def multinomial(call: Call) -> Iterable[Step] | None:
    """The steps of drawing from weights, with or without replacement."""
    source, count = call.input, int(call.argument(1, "num_samples"))
    if not source.numel() or not count:
        return list(call.results())
    if bool(call.argument(2, "replacement", default=False)):
        return _with_replacement(source, count, call)
    steps: list[Step] = [*call.results(), Take("is valid", 1, call.op), Take("is zero", 1, call.op)]
    steps.append(Take("quotients", num_bytes(source), call.op))
    if count == 1:
        # One draw is the place of the largest quotient.
        rows = source.contiguous()
        steps += partial_results(rows, -1, Reduction(PAIR_BYTES), call.kernels, call.op)
    else:
        drawn = source.numel() // source.shape[-1] * count * source.element_size()
        inside = topk_inside(source.contiguous(), count, source.dim() - 1, call)
        if inside is None:
            return None
        steps += [Take("drawn", drawn, call.op), *inside, Give("drawn")]
    return [*steps, Give("quotients"), Give("is zero"), Give("is valid")]


def _with_replacement(source: torch.Tensor, count: int, call: Call) -> list[Step]:
    if count == 1:
        drawn = source.numel() // source.shape[-1] * source.element_size()
        return [*call.results(), *call.temporary(drawn)]
    names = ("weights", "shares", "sums")
    takes = [Take(name, num_bytes(source), call.op) for name in names]
    return [*call.results(), *takes, *(Give(name) for name in reversed(names))]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::sort": sort,
    "aten::topk": topk,
    "aten::multinomial": multinomial,
}
