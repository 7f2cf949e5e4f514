"""Fake tensors as the lanes make them: what torch lacks, and a refusal where nothing can be run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.operands import operator
from oom_suite.torch_compat.fakes import FakeMode, UnsupportedOperatorException
from oom_suite.tracing.data_sizes import is_sized
from oom_suite.tracing.made_here import function_for, is_laid_out, laid_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

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
        name, kwargs = operator(func).name, kwargs or {}
        make = function_for(name, tuple(args))
        if make is not None and self.elsewhere() is None:
            with self:
                return make(*args, **kwargs)
        if func in _AS_PRODUCTS and _are_ordinary(args):
            func = _AS_PRODUCTS[func]
        try:
            result = super().__torch_dispatch__(func, types, args, kwargs)
        except RuntimeError as error:
            # Without a fake kernel torch would run the real one, on a device that has no memory.
            refused = error if isinstance(error, UnsupportedOperatorException) else None
            if str(error).startswith(_NO_MEMORY_THERE):
                refused = UnsupportedOperatorException(func)
            if refused is not None and not is_sized(operator(func).family):
                self.refused = refused
            try:
                if refused is None or refused is error:
                    raise
                raise refused from error
            finally:
                # An error that its own frame holds would keep all tensors of the frames above.
                del refused
        if not is_laid_out(name, args) or self.elsewhere() is not None:
            return result
        with self:
            return laid_out(name, args, result)


def _are_ordinary(args: Sequence[Any]) -> bool:
    """Whether both sides are integers or real numbers: of others there are products alone."""
    return all(
        not isinstance(each, bool | complex)
        and not (isinstance(each, torch.Tensor) and (each.is_complex() or each.dtype is torch.bool))
        for each in args
    )
