"""What the kernels of layer norm and group norm request and free, in the order in which they do it.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/layer_norm_kernel.cu``: ``layer_norm_cuda``,
``layer_norm_backward_cuda``, ``LayerNormBackwardKernelImpl``,
``LaunchGammaBetaBackwardCUDAKernel``; ``group_norm_kernel.cu``: ``GroupNormKernelImplInternal``,
``GroupNormBackwardKernelImplInternal``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.reduce_config import Reduction
from oom_suite.operators.cuda.reductions import partial_results
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oom_suite.operators.attention import Device
    from oom_suite.operators.kernels import Kernels
    from oom_suite.operators.steps import Step

    Steps = Iterator[Step]

_MANY_ROWS = 64 * 1024
_ROWS_PER_BLOCK = 32
_MOST_BLOCKS = 32 * 1024
_WIDTH = {"cuda": 32, "rocm": 64}
"""Columns of a block."""


def inside(
    name: str,
    args: Sequence[Any],
    result: Any,
    device: Device,
    kernels: Kernels | None = None,
) -> tuple[Step, ...] | None:
    """What a call requests and frees, its results among it; None where that is not known.

    Args:
        name: the operator, as ``aten::native_layer_norm``.
        args: its arguments by position.
        result: what it returned.
        device: whose kernel runs.
        kernels: the same, where the little that a sum shares among its blocks is wanted, too.
    """
    if name == "aten::native_layer_norm_backward":
        return tuple(_layer_norm_backward(name, args, result, device, kernels))
    steps = _STEPS.get(name)
    return None if steps is None else tuple(steps(name, args, result, device))


def _copied(op: str, **tensors: Any) -> tuple[list[Step], list[Step]]:
    """Requests for contiguous copies where a kernel needs them, and their frees."""
    takes: list[Step] = []
    gives: list[Step] = []
    for name, tensor in tensors.items():
        if tensor is not None and not tensor.is_contiguous():
            takes.append(Take(name, tensor.numel() * tensor.element_size(), op))
            gives.insert(0, Give(name))
    return takes, gives


def _layer_norm(op: str, args: Sequence[Any], result: Any, _device: Device) -> Steps:
    takes, gives = _copied(op, x=args[0], weight=args[2], bias=args[3])
    yield from takes
    for place in range(3):
        yield Take(place, result[place].untyped_storage().nbytes(), op)
    yield from gives


def _layer_norm_backward(
    op: str, args: Sequence[Any], result: Any, device: Device, kernels: Kernels | None
) -> Steps:
    grad, x, _, mean, _, weight, bias, wanted = args
    takes, gives = _copied(op, x=x, weight=weight, bias=bias)
    yield from takes
    grad_takes, grad_gives = _copied(op, grad=grad)
    places = [place for place in range(3) if wanted[place] and result[place] is not None]
    parts = [place for place in places if place > 0]
    blocks = num_parts(mean.numel(), result[parts[0]].numel(), device) if parts else 0
    for place in places:
        size = result[place].untyped_storage().nbytes()
        yield Take(f"whole{place}" if place in parts and blocks else place, size, op)
    yield from grad_takes
    if blocks:
        yield from _parts(op, parts, result, blocks, kernels)
    yield from grad_gives
    yield from gives


def num_parts(rows: Any, columns: Any, device: Device) -> Any:
    """Blocks that sum parts of the rows each, where these are many and columns few; else 0."""
    width = _WIDTH[device.backend]
    if not (rows > _MANY_ROWS and columns // width < device.num_multiprocessors // 2):
        return 0
    by_columns = _MOST_BLOCKS // ((columns + width - 1) // width)
    by_rows = (rows + _ROWS_PER_BLOCK - 1) // _ROWS_PER_BLOCK
    return by_columns if by_columns <= by_rows else by_rows


def _parts(op: str, places: list[int], result: Any, blocks: Any, kernels: Kernels | None) -> Steps:
    """Sums of each block's rows, and then of those: the gradients are made anew."""
    for place in places:
        grad = result[place]
        yield Take(f"parts{place}", blocks * grad.numel() * grad.element_size(), op)
    for place in places:
        yield Take(place, result[place].untyped_storage().nbytes(), op)
        yield from sum_of_parts(blocks, result[place], kernels, op)
        yield Give(f"whole{place}")
    for place in reversed(places):
        yield Give(f"parts{place}")


def sum_of_parts(blocks: int, grad: torch.Tensor, kernels: Kernels | None, op: str) -> Steps:
    """What the sum over blocks shares among its own; nothing where that is not wanted."""
    if kernels is None:
        return
    parts = torch.empty(blocks, grad.numel(), dtype=grad.dtype, device="meta")
    is_low = grad.dtype in {torch.float16, torch.bfloat16}
    reduction = Reduction(_wide_bytes(grad), 8 if is_low else 4)
    yield from partial_results(parts, [0], reduction, kernels, op)


def _wide_bytes(tensor: torch.Tensor) -> int:
    """Bytes of a number that sums of the tensor's are kept in."""
    return 8 if tensor.dtype is torch.float64 else 4


def _group_norm(op: str, args: Sequence[Any], result: Any, _device: Device) -> Steps:
    x, weight, bias, batch, channels, area = args[:6]
    for place in range(3):
        yield Take(place, result[place].untyped_storage().nbytes(), op)
    if area != 1 and (weight is not None or bias is not None):
        size = batch * channels * _wide_bytes(x)
        yield Take("factors", size, op)
        yield Take("terms", size, op)
        yield Give("terms")
        yield Give("factors")


def _group_norm_backward(op: str, args: Sequence[Any], result: Any, _device: Device) -> Steps:
    _, x, _, _, weight, batch, channels, area, groups, wanted = args
    for place in range(3):
        if result[place] is not None:
            yield Take(place, result[place].untyped_storage().nbytes(), op)
    width = _wide_bytes(x)
    sums = ("products", "sums")
    for name in sums:
        yield Take(name, batch * channels * width, op)
    if wanted[0]:
        of_groups = ["factors", "terms"]
        for name in of_groups:
            yield Take(name, batch * groups * width, op)
        if area != 1 and weight is not None:
            yield Take("weights", batch * channels * width, op)
            of_groups.append("weights")
        for name in reversed(of_groups):
            yield Give(name)
    for name in reversed(sums):
        yield Give(name)


_STEPS: dict[str, Callable[[str, Sequence[Any], Any, Device], Steps]] = {
    "aten::native_group_norm": _group_norm,
    "aten::native_group_norm_backward": _group_norm_backward,
    "aten::native_layer_norm": _layer_norm,
}
