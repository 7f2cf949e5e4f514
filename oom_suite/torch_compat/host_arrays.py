"""NumPy's view of fake tensors, which torch refuses to give."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

from oom_suite.torch_compat.fakes import FakeTensor
from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = (
    Name("torch:Tensor.numpy", positional=1, keywords=("force",)),
    Name("torch:Tensor.__array__", positional=2),
)
"""The names of torch behind this module: what fake tensors inherit, and get anew here."""

with needed("the shadow and prove lanes need", NAMES):
    _TO_NUMPY, _TO_ARRAY = "numpy", "__array__"


@contextlib.contextmanager
def arrays_of_fakes(to_numpy: Callable[..., Any], to_array: Callable[..., Any]) -> Iterator[None]:
    """While active, fake tensors have these methods in place of torch's own.

    Args:
        to_numpy: ``tensor.numpy(force=False)``.
        to_array: ``tensor.__array__(dtype=None)``, which NumPy's own functions call.
    """
    with (
        mock.patch.object(FakeTensor, _TO_NUMPY, to_numpy, create=True),
        mock.patch.object(FakeTensor, _TO_ARRAY, to_array, create=True),
    ):
        yield
