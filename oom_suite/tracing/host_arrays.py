"""``.numpy()`` of tensors whose values a lane knows, in place of torch's, which refuses fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oom_suite.torch_compat.host_arrays import arrays_of_fakes

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import numpy
    import torch

    Array = numpy.ndarray[Any, Any]


def numpy_arrays(array_of: Callable[[torch.Tensor], Array]) -> AbstractContextManager[None]:
    """While active, ``.numpy()`` of a fake tensor, and NumPy's own functions, get `array_of` it.

    As of other tensors: not while the tensor needs a gradient, and with ``force=True`` from any
    device.
    """

    def to_numpy(self: torch.Tensor, *, force: bool = False) -> Array:
        if force:
            return array_of(self.detach().cpu().resolve_conj().resolve_neg())
        if self.requires_grad:
            msg = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy()"
            raise RuntimeError(msg)
        return array_of(self)

    def to_array(self: torch.Tensor, dtype: Any = None, *_: Any, **options: Any) -> Array:
        del options
        found = to_numpy(self)
        return found if dtype is None else found.astype(dtype, copy=False)

    return arrays_of_fakes(to_numpy, to_array)
