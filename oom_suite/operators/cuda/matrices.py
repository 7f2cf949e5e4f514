"""Products and factorizations on CUDA: what torch itself makes beside the libraries' workspaces.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/GroupedBlas.cpp`` (``_grouped_mm_cuda``),
``cuda/GroupMM.cu`` (``bf16bf16_grouped_gemm_impl_sm90_sm100``), ``native/GroupedMMUtils.h``
(``_grouped_mm_fallback``); CUTLASS 4.2 ``gemm/collective/
sm90_mma_array_tma_gmma_ss_warpspecialized.hpp`` and ``epilogue/collective/
sm90_epilogue_array_tma_warpspecialized.hpp``, ``get_workspace_size``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

_POINTER_BYTES = 8
_SHAPE_BYTES = 3 * 4
_DESCRIPTOR_BYTES = 128
_DESCRIPTORS = 4
"""Of both inputs, and of the result for each of two groups of warps."""


def _grouped(call: Call) -> Iterable[Step] | None:
    """A product for each group: in one kernel of CUTLASS, or group by group, in the result."""
    left, right = call.args[:2]
    if left.dtype is not torch.bfloat16 or right.dtype is not torch.bfloat16:
        return list(call.results())
    if call.kernels.backend != "cuda" or call.kernels.arch != "sm_90":
        return None
    offsets = call.argument(2, "offs")
    count = left.shape[0] if offsets is None else offsets.shape[0]
    even = count + count % 2
    arguments = 3 * even * _POINTER_BYTES + count * _SHAPE_BYTES + 3 * count * _POINTER_BYTES
    workspace = _DESCRIPTORS * _DESCRIPTOR_BYTES * call.kernels.num_multiprocessors
    return [
        *call.results(),
        Take("arguments", arguments, call.op),
        *call.temporary(workspace),
        Give("arguments"),
    ]


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::_grouped_mm": _grouped,
}
