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
_NO_MEMORY_THERE = "Could not run 'aten::empty_strided' with arguments from the"


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
        position = _GRADIENT_OF.get(operator(func).name)
        if position is not None and self.elsewhere() is None:
            with self:
                return torch.empty_like(args[position])
        try:
            return super().__torch_dispatch__(func, types, args, kwargs or {})
        except (NotImplementedError, UnsupportedOperatorException) as error:
            # Without a fake kernel torch would run the real one, on a device that has no memory.
            if str(error).startswith(_NO_MEMORY_THERE):
                self.refused = UnsupportedOperatorException(func)
                raise self.refused from error
            if isinstance(error, UnsupportedOperatorException):
                self.refused = error
            raise
