"""What CUDA's fused cells of recurrent networks request, in their order.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/RNN.cu``: ``_thnn_fused_lstm_cell_cuda``,
``_thnn_fused_lstm_cell_backward_impl_cuda``, ``_thnn_fused_gru_cell_cuda``,
``_thnn_fused_gru_cell_backward_cuda``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.operators.cuda.reductions import summed
from oom_suite.operators.operands import tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step


def _cell(call: Call) -> Iterable[Step] | None:
    return list(call.results())


def _backward(num_gates: int) -> Callable[[Call], Iterable[Step] | None]:
    """Gradients of gates; those of biases are their sums over the batch."""

    def steps(call: Call) -> Iterable[Step] | None:
        found, results = list(tensors(call.result)), list(call.results())
        if len(found) < 2 * num_gates + 1:
            return results
        gates = found[0]
        sums = [step for _ in range(num_gates) for step in summed(gates, [0], gates.dtype, call)]
        return [*results, *sums]

    return steps


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::_thnn_fused_gru_cell": _cell,
    "aten::_thnn_fused_gru_cell_backward": _backward(2),
    "aten::_thnn_fused_lstm_cell": _cell,
    "aten::_thnn_fused_lstm_cell_backward_impl": _backward(1),
}
