"""Fake kernels that torch lacks, for operators that a GPU has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.convolutions import WITH_WORKSPACE, layout_of
from oom_suite.torch_compat.fakes import device_of
from oom_suite.tracing import recurrent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROW_BYTES = 16
"""What rows of a grouped product begin at multiples of, but on ROCm."""


def _like(position: int) -> Callable[..., Any]:
    return lambda *args, **_: torch.empty_like(args[position])


def _grouped_product(
    left: torch.Tensor, right: torch.Tensor, offs: torch.Tensor | None = None, **_: object
) -> torch.Tensor:
    """The result of ``_grouped_mm``; torch's own fake kernel knows bfloat16 alone.

    Source: PyTorch 2.13 ``aten/src/ATen/native/GroupedMMUtils.h``,
    ``create_grouped_gemm_output_tensor``.
    """
    sizes = [left.shape[-2], right.shape[-1]]
    if left.dim() == right.dim():
        sizes = [left.shape[0] if offs is None else offs.shape[0], *sizes]
    row = sizes[-1]
    if not torch.version.hip:
        step = _ROW_BYTES // left.element_size()
        row = (row + step - 1) // step * step
    strides = [row, 1] if len(sizes) == 2 else [sizes[1] * row, row, 1]
    return torch.empty_strided(sizes, strides, dtype=left.dtype, device=left.device)


def _gru_cell(_input: Any, _hidden: Any, hx: torch.Tensor, *_: Any) -> tuple[Any, Any]:
    """The new state, and what its gradient is made of.

    Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/RNN.cu``, ``_thnn_fused_gru_cell_cuda``.
    """
    workspace = hx.new_empty((hx.shape[0], hx.shape[1] * 5))
    return torch.empty_like(hx, memory_format=torch.contiguous_format), workspace


def _gru_cell_backward(
    grad: torch.Tensor, workspace: torch.Tensor, has_bias: bool
) -> tuple[Any, ...]:
    """Gradients of both gates, of the state, and of both biases, of the same file."""
    width = workspace.shape[1] // 5 * 3
    gates = [workspace.new_empty((workspace.shape[0], width)) for _ in range(2)]
    hx = torch.empty_like(grad, memory_format=torch.contiguous_format)
    biases = [workspace.new_empty((width,)) if has_bias else None for _ in range(2)]
    return (*gates, hx, *biases)


def _cudnn_rnn(*args: Any) -> tuple[Any, ...]:
    x, _, _, buffer, hx, cx, _, num_hidden, projected, _, batch_first, _, _, both, sizes, _ = args
    given = (num_hidden, projected, batch_first, both, sizes)
    return (*recurrent.forward(x, hx, cx, given), x.new_empty((0,), dtype=torch.uint8), buffer)


def _miopen_rnn(*args: Any) -> tuple[Any, ...]:
    x, weights, _, hx, cx, _, num_hidden, _, batch_first, _, _, both, sizes, _ = args
    found = recurrent.forward(x, hx, cx, (num_hidden, 0, batch_first, both, sizes))
    # It copies its parameters together in every call.
    buffer = weights[0].new_empty((sum(each.numel() for each in weights),))
    return (*found, x.new_empty((0,), dtype=torch.uint8), buffer)


def _geqrf(source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Reflectors in the place of the matrix, and a factor for each.

    Source: PyTorch 2.13 ``aten/src/ATen/native/BatchLinearAlgebra.cpp``, ``geqrf``.
    """
    shape = (*source.shape[:-2], min(source.shape[-2:]))
    return torch.empty_like(source.mT).mT, source.new_empty(shape)


MADE_HERE: dict[str, Callable[..., Any]] = {
    "aten::_cudnn_rnn": _cudnn_rnn,
    "aten::_cudnn_rnn_backward": lambda *args: recurrent.backward(*args[:2], *args[4:6]),
    "aten::_grouped_mm": _grouped_product,
    "aten::_thnn_fused_gru_cell": _gru_cell,
    "aten::_thnn_fused_gru_cell_backward": _gru_cell_backward,
    "aten::fractional_max_pool3d_backward": _like(1),
    "aten::geqrf": _geqrf,
    "aten::miopen_rnn": _miopen_rnn,
    "aten::miopen_rnn_backward": lambda *args: recurrent.backward(*args[:2], *args[4:6]),
    "aten::multi_margin_loss_backward": _like(1),
    "aten::multilabel_margin_loss_backward": _like(1),
}
"""By an operator's name; each is called with the operator's arguments.

The gradients that are as large as the input are so by PyTorch 2.13 ``aten/src/ATen/native/cuda``:
``MultiMarginLoss.cu``, ``MultiLabelMarginCriterion.cu``, ``FractionalMaxPool3d.cu``.
"""


def function_for(name: str, args: tuple[Any, ...]) -> Callable[..., Any] | None:
    """What makes the results of a call of an operator; None where torch itself does."""
    if name == "aten::_grouped_mm" and all(each.dtype is torch.bfloat16 for each in args[:2]):
        return None
    return MADE_HERE.get(name)


def is_laid_out(name: str, args: Sequence[Any]) -> bool:
    """Whether the results of a call lie as `laid_out` has it: convolutions that cuDNN takes."""
    is_cudnn = name in WITH_WORKSPACE and not torch.version.hip
    return is_cudnn and device_of(args[0]).type == "cuda"


def laid_out(name: str, args: Sequence[Any], result: Any) -> Any:
    """The results of a convolution as cuDNN lays them out: torch takes fakes for another library's.

    Source: PyTorch 2.13 ``aten/src/ATen/native/cudnn/ConvShared.cpp``.
    """
    if name == "aten::convolution":
        return result.to(memory_format=layout_of(*args[:2]))
    # A gradient is laid out as the input is, before anything is made of it.
    pairs = (args[1:3], (args[1], args[1]))
    halves = (
        None if half is None else half.to(memory_format=layout_of(*pair))
        for half, pair in zip(result, pairs, strict=False)
    )
    return (*halves, result[2])
