"""Recurrent networks as torch calls cuDNN or MIOpen for them: one operator for all steps.

Without such a library torch goes through them step by step, and so it does with fakes.

Source: PyTorch 2.13 ``aten/src/ATen/native/RNN.cpp`` (``lstm``, ``gru``, ``ONE_HIDDEN_RNN``),
``cudnn/RNN.cpp`` and ``miopen/RNN_miopen.cpp`` (``_cudnn_impl``, ``_cudnn_rnn``,
``_cudnn_rnn_backward_input``, ``_cudnn_rnn_backward_weight``).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat import library_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = {"rnn_relu": 0, "rnn_tanh": 1, "lstm": 2, "gru": 3}
"""How cuDNN and torch number them."""

_LSTM = MODES["lstm"]
_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


def is_taken(x: torch.Tensor) -> bool:
    """Whether the library takes such an input."""
    return x.dtype in _FLOATS and bool(x.numel() != 0)


def whole(
    library: str,
    mode: int,
    x: torch.Tensor,
    hidden: Sequence[torch.Tensor],
    settings: Sequence[Any],
    batch_sizes: Sequence[int] = (),
) -> tuple[torch.Tensor, ...]:
    """All steps in one call, with gradients.

    Args:
        library: ``"cudnn"`` or ``"miopen"``.
        mode: of `MODES`.
        x: of all steps; with `batch_sizes`, without padding.
        hidden: the first state, and an LSTM's cells.
        settings: parameters, whether there are biases, layers, dropout, training, whether there
            are two directions, and whether the batch comes first.
        batch_sizes: sequences that have each step.
    """
    params, has_biases, layers, dropout, train, both, batch_first = settings
    hx, cx = hidden[0], hidden[1] if len(hidden) > 1 else None
    num_hidden, projected = hx.shape[2], 0
    num_params = 4 if has_biases else 2
    if cx is not None and cx.shape[2] != num_hidden:
        num_hidden, projected = cx.shape[2], num_hidden
        num_params += 1
    # A module on the device keeps all its parameters in one buffer, which is given here.
    buffer = params[0].detach()
    last = (layers, batch_first, dropout, train, both, list(batch_sizes), None)
    if library == "cudnn":
        run = library_layers.cudnn_rnn
        first: tuple[Any, ...] = (buffer, hx, cx, mode, num_hidden, projected)
    else:
        run = library_layers.miopen_rnn
        first = (hx, cx, mode, num_hidden)
    output, hy, cy, *_ = run(x, params, num_params, *first, *last)
    return (output, hy, cy) if mode == _LSTM else (output, hy)


def forward(
    x: torch.Tensor, hx: torch.Tensor, cx: torch.Tensor | None, given: Sequence[Any]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The library's results: every step's, the last state, an LSTM's last cells.

    Args:
        x: of all steps.
        hx: the first state.
        cx: an LSTM's first cells.
        given: states of a cell, of a projection, whether the batch comes first, whether there are
            two directions, and batch sizes.
    """
    num_hidden, projected, batch_first, both, batch_sizes = given
    width = (projected or num_hidden) * (2 if both else 1)
    output = x.new_empty((*x.shape[:-1], width))
    if batch_first and not batch_sizes:
        output = x.new_empty((x.shape[1], x.shape[0], width)).transpose(0, 1)
    hy = hx.new_empty(hx.shape)
    return output, hy, hx.new_empty((0,)) if cx is None else cx.new_empty(cx.shape)


def backward(
    x: torch.Tensor,
    weights: Sequence[torch.Tensor],
    hx: torch.Tensor,
    cx: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
    """Gradients of the input, of both states, and of all parameters, which are one buffer."""
    sizes = [math.prod(each.shape) for each in weights]
    flat = weights[0].new_empty((sum(sizes),))
    ends = itertools.accumulate(sizes)
    parts = [
        flat[end - size : end].view(weight.shape)
        for end, size, weight in zip(ends, sizes, weights, strict=True)
    ]
    cells = None if cx is None else cx.new_empty(cx.shape)
    return x.new_empty(x.shape), hx.new_empty(hx.shape), cells, parts
