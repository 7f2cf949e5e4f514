"""Fake tensors as the lanes make them: what torch lacks, and a refusal where nothing can be run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.operands import operator
from oom_suite.torch_compat.fakes import FakeMode, UnsupportedOperatorException

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

_GRADIENT_OF = {
    "aten::multi_margin_loss_backward": 1,
    "aten::multilabel_margin_loss_backward": 1,
    "aten::fractional_max_pool3d_backward": 1,
}
"""Operators that torch has no fake kernel for, and the argument whose gradient they give.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda``: ``MultiMarginLoss.cu``,
``MultiLabelMarginCriterion.cu``, ``FractionalMaxPool3d.cu``: the result is as large as the input.
"""
_AS_PRODUCTS = {
    torch.ops.aten.floor_divide.default: torch.ops.aten.mul.Tensor,
    torch.ops.aten.floor_divide.Scalar: torch.ops.aten.mul.Scalar,
    torch.ops.aten.floor_divide_.Tensor: torch.ops.aten.mul_.Tensor,
    torch.ops.aten.floor_divide_.Scalar: torch.ops.aten.mul_.Scalar,
}
"""Operators whose fake kernel is slow, and ones with the same shapes, dtypes and strides.

``slots // block_size`` is in all code over a paged cache. torch takes it apart in Python: on
symbols that takes twenty times as long as a product does.
Source: PyTorch 2.13 ``torch/_decomp/decompositions.py``, ``floor_divide``; both are elementwise
with the default promotion of types (``aten/src/ATen/native/BinaryOps.cpp``).
"""
_GROUPED_PRODUCT = "aten::_grouped_mm"
_ROW_BYTES = 16
"""What rows of a grouped product begin at multiples of, but on ROCm."""
_NO_MEMORY_THERE = (
    "Could not run 'aten::empty_strided' with arguments from the",
    "Found no NVIDIA driver on your system",
    "No CUDA GPUs are available",
    "No HIP GPUs are available",
)
"""How torch refuses to make a real tensor on a device that is not there, by its build."""


class LaneFakeMode(FakeMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """`FakeMode` with the fake kernels that torch lacks."""

    refused: UnsupportedOperatorException | None = None

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Raises at the end what could not be run, also where the code has caught that.

        On a GPU the operator would have run: what the code did instead is not what it does there.

        Raises:
            UnsupportedOperatorException: an operator inside had no fake kernel.
        """
        self.refused = None
        yield
        if self.refused is not None:
            raise self.refused

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The fake result of an operator on fakes.

        Raises:
            UnsupportedOperatorException: there is no fake kernel for it.
        """
        name = operator(func).name
        position = _GRADIENT_OF.get(name)
        if position is not None and self.elsewhere() is None:
            with self:
                return torch.empty_like(args[position])
        if func in _AS_PRODUCTS and _are_ordinary(args):
            func = _AS_PRODUCTS[func]
        if name == _GROUPED_PRODUCT and self.elsewhere() is None and _is_in_a_loop(*args[:2]):
            with self:
                return _grouped_product(*args, **(kwargs or {}))
        try:
            return super().__torch_dispatch__(func, types, args, kwargs or {})
        except (RuntimeError, UnsupportedOperatorException) as error:
            # Without a fake kernel torch would run the real one, on a device that has no memory.
            if str(error).startswith(_NO_MEMORY_THERE):
                self.refused = UnsupportedOperatorException(func)
                raise self.refused from error
            if isinstance(error, UnsupportedOperatorException):
                self.refused = error
            raise


def _are_ordinary(args: Sequence[Any]) -> bool:
    """Whether both sides are integers or real numbers: of others there are products alone."""
    return all(
        not isinstance(each, bool | complex)
        and not (isinstance(each, torch.Tensor) and (each.is_complex() or each.dtype is torch.bool))
        for each in args
    )


def _is_in_a_loop(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether torch multiplies group by group, for which it has no fake kernel."""
    return left.dtype is not torch.bfloat16 or right.dtype is not torch.bfloat16


def _grouped_product(
    left: torch.Tensor, right: torch.Tensor, offs: torch.Tensor | None = None, **_: object
) -> torch.Tensor:
    """The result of ``_grouped_mm`` in other types than bfloat16.

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
