"""NumPy's view of fake tensors, which torch refuses to give."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

from oom_suite.torch_compat.fakes import FakeTensor
from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy
    import torch

    ArrayOf = Callable[[torch.Tensor], numpy.ndarray[Any, Any]]

NAMES = (
    Name("torch:Tensor.numpy", positional=1, keywords=("force",)),
    Name("torch:Tensor.__array__", positional=2),
    Name("torch:Tensor.resolve_conj", positional=1),
)
"""The names of torch behind this module: what fake tensors inherit, and get anew here."""

with needed("the shadow and prove lanes need", NAMES):
    pass


@contextlib.contextmanager
def arrays_of_fakes(array_of: ArrayOf) -> Iterator[None]:
    """While active, ``.numpy()`` of a fake tensor, and NumPy's own functions, get `array_of` it.

    As of other tensors: not while the tensor needs a gradient, and with ``force=True`` from any
    device.
    """

    def to_numpy(self: FakeTensor, *, force: bool = False) -> Any:
        if force:
            return array_of(self.detach().cpu().resolve_conj().resolve_neg())
        if self.requires_grad:
            msg = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy()"
            raise RuntimeError(msg)
        return array_of(self)

    def to_array(self: FakeTensor, dtype: Any = None, *_: Any, **options: Any) -> Any:
        del options
        found = to_numpy(self)
        return found if dtype is None else found.astype(dtype, copy=False)

    with (
        mock.patch.object(FakeTensor, "numpy", to_numpy, create=True),
        mock.patch.object(FakeTensor, "__array__", to_array, create=True),
    ):
        yield
