"""Operators of CUDA whose kernels are compositions: each temporary in its order.

Source: PyTorch 2.13 ``aten/src/ATen/native/Loss.cpp``, ``cuda/Loss.cu``, ``cuda/SoftMax.cu``,
``native/SoftMax.cpp``, ``cuda/TensorTransformations.cu``, ``native/TensorTransformations.h``,
``cuda/IndexKernel.cpp``, ``cuda/Indexing.cu``, ``cuda/Nonzero.cu``, ``cuda/ScanUtils.cuh``,
``cuda/ActivationLogSigmoidKernel.cu``, ``native/Normalization.cpp`` (``renorm_out``),
``cuda/Shape.cu``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.cub import REDUCE
from oom_suite.operators.cuda.library import half_scan_storage, scan_storage, select_storage
from oom_suite.operators.cuda.reductions import summed
from oom_suite.operators.kernels import ceil_div, num_bytes
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_INDEX_BYTES = 8


def _loss(position: int, *, is_kept: bool) -> Callable[[Call], Iterable[Step] | None]:
    """The loss of every element, then its mean or sum.

    A structured kernel first makes its result as large as the losses, and shrinks its shape.
    """

    def steps(call: Call) -> Iterable[Step] | None:
        if not call.argument(position, "reduction", 1):
            return list(call.results())
        pair: Any = call.args[:2]
        source, target = torch.broadcast_tensors(*pair)  # type: ignore[no-untyped-call]  # untyped by torch
        dtype = torch.result_type(source, target)
        losses = torch.empty(source.shape, dtype=dtype, device="meta")
        every = Take("losses", num_bytes(losses), call.op)
        reduced = [*summed(losses, None, dtype, call), Give("losses")]
        if is_kept:
            return [Take(0, num_bytes(losses), call.op), every, *reduced]
        return [every, *call.results(), *reduced]

    return steps


def _kept_loss(position: int) -> Callable[[Call], Iterable[Step] | None]:
    """The result is the losses' own storage, which shrinks in its shape alone."""

    def steps(call: Call) -> Iterable[Step] | None:
        if not call.argument(position, "reduction", 1):
            return list(call.results())
        losses = torch.empty(call.input.shape, dtype=call.input.dtype, device="meta")
        reduced = [*summed(losses, None, losses.dtype, call)]
        scalar = Take("reduced", losses.element_size(), call.op)
        return [Take(0, num_bytes(losses), call.op), scalar, *reduced, Give("reduced")]

    return steps


def _softmax(call: Call) -> Iterable[Step] | None:
    if call.input.is_contiguous():
        return list(call.results())
    copy = Take("contiguous", num_bytes(call.input), call.op)
    return [copy, *call.results(), Give("contiguous")]


def _softmax_backward(call: Call) -> Iterable[Step] | None:
    grad, output = call.args[:2]
    product = torch.result_type(grad, output).itemsize * grad.numel()
    return [*call.results(), *call.temporary(product)]


def _roll(call: Call) -> Iterable[Step] | None:
    shifts, dims = call.argument(1, "shifts"), call.argument(2, "dims", ())
    num_dims = len(dims) if isinstance(dims, (list, tuple)) else 1
    results, source = list(call.results()), call.input
    if not source.is_contiguous():
        # Each of its steps copies what it is given, the first one this.
        copy: list[Step] = [Take("contiguous", num_bytes(source), call.op)]
        if num_dims > 1:
            first = Take("rolled", num_bytes(source), call.op)
            return [*copy, first, Give("contiguous"), *results, Give("rolled")]
        return [*copy, *results, Give("contiguous")]
    if num_dims > 1 and len(shifts) > 1:
        return [Take("rolled", num_bytes(source), call.op), *results, Give("rolled")]
    return results


def _masked_scatter(call: Call) -> Iterable[Step] | None:
    mask, values = call.args[1:3]
    source = next(tensors(call.result))
    scan = scan_storage(call.kernels, source.numel(), _INDEX_BYTES)
    if scan is None:
        return None
    steps: list[Step] = [*call.results()]
    if not source.numel():
        return steps
    steps.append(Take("places", source.numel() * _INDEX_BYTES, call.op))
    copies = ["mask"] if mask.shape != source.shape or not mask.is_contiguous() else []
    steps += (Take(name, source.numel(), call.op) for name in copies)
    steps += scan.steps()
    if not values.is_contiguous():
        steps += call.temporary(num_bytes(values))
    steps += (Give(name) for name in copies)
    return [*steps, Give("places")]


def nonzero(call: Call) -> Iterable[Step] | None:
    """The steps of listing the true entries."""
    source = call.input
    count = source.numel()
    if count >= 2**31 - 1:
        return None
    steps: list[Step] = []
    is_copied = not source.is_contiguous()
    if is_copied:
        steps.append(Take("contiguous", num_bytes(source), call.op))
    steps.append(Take("length", 4, call.op))
    # Blocks that a processor holds at most, five times, of one count each.
    blocks = call.kernels.num_multiprocessors * 8 * 5
    if not call.kernels.has_cub:
        # rocPRIM's blocks have no such limit; each has a wavefront of values at least.
        blocks = max(blocks, 2 * ceil_div(count, 64))
    steps += call.temporary(1 if count <= 4096 else blocks * 4, REDUCE, is_bound=count > 4096)
    steps += call.results()
    storage = select_storage(call.kernels, count, _INDEX_BYTES)
    if source.dim() and storage is not None:
        steps += storage.steps()
    steps.append(Give("length"))
    return [*steps, Give("contiguous")] if is_copied else steps


def _cumulative(call: Call) -> Iterable[Step] | None:
    source, dim = call.input, call.dim(1)
    result = next(tensors(call.result))
    steps: list[Step] = [*call.results()]
    if not source.numel() or not source.dim():
        return steps
    wanted = result.dtype
    is_copied = source.dtype is not wanted or not source.is_contiguous()
    if is_copied:
        steps.append(Take("copy", source.numel() * wanted.itemsize, call.op))
    if not result.is_contiguous():
        return None
    scratch = None
    if source.numel() == source.shape[dim]:
        if wanted in {torch.float16, torch.bfloat16}:
            scratch = half_scan_storage(call.kernels, source.numel())
        elif not wanted.is_complex:
            scratch = scan_storage(call.kernels, source.numel(), wanted.itemsize)
        if scratch is None:
            return None
        steps += scratch.steps()
    return [*steps, Give("copy")] if is_copied else steps


def _cumulative_pair(call: Call) -> Iterable[Step] | None:
    """A maximum and its place, row by row."""
    source = call.input
    copied = 0 if source.is_contiguous() else num_bytes(source)
    return [*call.results(), *call.temporary(copied)]


def _log_sigmoid(call: Call) -> Iterable[Step] | None:
    # The buffer is the CPU's alone.
    return [next(iter(call.results()))]


def _renorm(call: Call) -> Iterable[Step] | None:
    kept = call.input.shape[call.dim(2)]
    width = 4 if call.input.element_size() < 4 else call.input.element_size()
    factor = kept * call.input.element_size() if width != call.input.element_size() else 0
    steps: list[Step] = [*call.results(), Take("norms", kept * width, call.op)]
    return [*steps, *call.temporary(factor, "factors"), Give("norms")]


def _ldexp(call: Call) -> Iterable[Step] | None:
    exponent = call.args[1]
    power = torch.result_type(exponent, 2.0).itemsize * exponent.numel()
    return [Take("powers", power, call.op), *call.results(), Give("powers")]


def _scatter_mean(call: Call) -> Iterable[Step] | None:
    if call.argument(4, "reduce") != "mean":
        return list(call.results())
    result, source = next(tensors(call.result)), call.argument(3, "src")
    counts: list[Step] = [
        Take("counts", num_bytes(result), call.op),
        Take("ones", num_bytes(source), call.op),
        Take("is zero", result.numel(), call.op),
    ]
    return [*call.results(), *counts, Give("is zero"), Give("ones"), Give("counts")]


def _index_mean(call: Call) -> Iterable[Step] | None:
    if call.argument(4, "reduce") != "mean":
        return list(call.results())
    result, source = next(tensors(call.result)), call.argument(3, "source")
    # The ones go before the counts are compared with zero.
    steps: list[Step] = [*call.results(), Take("counts", num_bytes(result), call.op)]
    steps += call.temporary(num_bytes(source), "ones")
    steps += call.temporary(result.numel(), "is zero")
    return [*steps, Give("counts")]


def _nonzero_static(call: Call) -> Iterable[Step] | None:
    source = call.input
    tile = 512 * 16
    blocks = ceil_div(source.numel(), tile)
    processors = call.kernels.num_multiprocessors * (2 if source.element_size() == 1 else 1)
    if not blocks or not next(tensors(call.result)).numel():
        return list(call.results())
    grid = ceil_div(source.numel(), ceil_div(blocks, processors) * tile)
    is_copied = not source.is_contiguous()
    copies: list[Step] = [Take("contiguous", num_bytes(source), call.op)] if is_copied else []
    ends: list[Step] = [Give("contiguous")] if is_copied else []
    sums: list[Step] = [Take("sums", grid * 4, call.op), Take("places", grid * 8, call.op)]
    return [*call.results(), *copies, *sums, Give("places"), Give("sums"), *ends]


def _soft_margin_backward(call: Call) -> Iterable[Step] | None:
    """``exp(-target * input)`` is three tensors while it is made; the result comes after."""
    _, source, target = call.args[:3]
    product = torch.broadcast_tensors(source, target)[0].numel()  # type: ignore[no-untyped-call]  # untyped by torch
    width = torch.result_type(source, target).itemsize
    steps: list[Step] = [Take("negated", num_bytes(target), call.op)]
    steps += (Take(name, product * width, call.op) for name in ("product", "exponential"))
    steps += [Give("product"), Give("negated")]
    return [*steps, *call.results(), Give("exponential")]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::mse_loss": _loss(2, is_kept=True),
    "aten::smooth_l1_loss": _loss(2, is_kept=True),
    "aten::huber_loss": _loss(2, is_kept=False),
    "aten::soft_margin_loss": _kept_loss(2),
    "aten::binary_cross_entropy": _kept_loss(3),
    "aten::soft_margin_loss_backward": _soft_margin_backward,
    "aten::_softmax": _softmax,
    "aten::_log_softmax": _softmax,
    "aten::_softmax_backward_data": _softmax_backward,
    "aten::roll": _roll,
    "aten::masked_scatter": _masked_scatter,
    "aten::nonzero": nonzero,
    "aten::cumsum": _cumulative,
    "aten::cumprod": _cumulative,
    "aten::cummax": _cumulative_pair,
    "aten::cummin": _cumulative_pair,
    "aten::_cummax_helper": _cumulative_pair,
    "aten::_cummin_helper": _cumulative_pair,
    "aten::log_sigmoid_forward": _log_sigmoid,
    "aten::renorm": _renorm,
    "aten::ldexp": _ldexp,
    "aten::scatter_reduce": _scatter_mean,
    "aten::index_reduce": _index_mean,
    "aten::nonzero_static": _nonzero_static,
}
