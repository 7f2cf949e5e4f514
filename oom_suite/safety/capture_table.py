"""What a stream refuses while a graph is captured from it, by operator: the kind and the reason.

Every entry names the PyTorch source that waits for the device. What is not here is taken to be
capturable; `tests/device/test_capture_agreement.py` holds that against real captures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.operands import operator, tensors
from oom_suite.torch_compat.fakes import device_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

SHAPE = "data-dependent-shape"
SYNC = "host-sync"
COPY = "host-copy"
GENERATOR = "unregistered-generator"
OTHER_THREAD = "other-thread"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an operator cannot be captured.

    Attributes:
        kind: the kind of hit.
        why: what it does, for a reader.
        source: the file of PyTorch in which it does so.
    """

    kind: str
    why: str
    source: str


_UNIQUE = Refused(SHAPE, "waits to learn how many distinct values there are", "cuda/Unique.cu")
_NONZERO = Refused(SHAPE, "waits to learn how many entries are true", "cuda/Nonzero.cu")
_MASK = Refused(
    SHAPE, "lists the true entries of a mask, whose number it waits for", "IndexingUtils.h"
)
_ITEM = Refused(SYNC, "reads a value on the host", "cuda/CUDAScalar.cu")
_LINALG = Refused(SYNC, "reads its error code on the host", "BatchLinearAlgebra.cpp")

ALWAYS: dict[str, Refused] = {
    "aten::_local_scalar_dense": _ITEM,
    "aten::is_nonzero": _ITEM,
    "aten::equal": Refused(SYNC, "compares on the device and reads the answer", "cuda/Equal.cpp"),
    "aten::_unique": _UNIQUE,
    "aten::_unique2": _UNIQUE,
    "aten::unique_dim": _UNIQUE,
    "aten::unique_consecutive": _UNIQUE,
    "aten::unique_dim_consecutive": _UNIQUE,
    "aten::nonzero": _NONZERO,
    "aten::masked_select": _MASK,
    "aten::bincount": Refused(SHAPE, "reads the largest value on the host", "cuda/SummaryOps.cu"),
    "aten::_linalg_check_errors": _LINALG,
    "aten::linalg_eigh": _LINALG,
    "aten::_linalg_eigh": _LINALG,
    "aten::_linalg_svd": _LINALG,
    "aten::linalg_eig": _LINALG,
    "aten::linalg_lstsq": _LINALG,
    "aten::_coalesce": Refused(
        SHAPE, "waits to learn how many entries differ", "sparse/cuda/SparseCUDATensor.cu"
    ),
}
"""Operators whose every call on device data is refused, by name without overload.

Source: PyTorch 2.11 and 2.13 under ``aten/src/ATen/native/``, the file that each names. Not
here, for they wait for nothing: ``sort``, ``topk``, ``cumsum``, ``index_put_`` with
``accumulate``, ``masked_scatter_``, ``nonzero_static``, ``multinomial`` (``Distributions.cpp``
asserts on the device), ``searchsorted``.
"""


def _histc(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Without a range of its own it reads the smallest and largest value."""
    low = kwargs.get("min", args[2] if len(args) > 2 else 0)
    high = kwargs.get("max", args[3] if len(args) > 3 else 0)
    return bool(low == high)


def _repeats(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    return kwargs.get("output_size", args[1] if len(args) > 1 else None) is None


def _value_on_device(position: int) -> Callable[[Sequence[Any], Mapping[str, Any]], bool]:
    def is_there(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        value = kwargs.get("value", args[position] if len(args) > position else None)
        return isinstance(value, torch.Tensor) and device_of(value).type != "cpu"

    return is_there


def _masked(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    del kwargs
    return any(index is not None and index.dtype in {torch.bool, torch.uint8} for index in args[1])


_FILL = Refused(SYNC, "reads the value to fill in on the host", "cuda/Indexing.cu")
_FILL_INDEX = Refused(SYNC, "reads the value to fill in on the host", "TensorAdvancedIndexing.cpp")
SOMETIMES: dict[str, tuple[Callable[[Sequence[Any], Mapping[str, Any]], bool], Refused]] = {
    "aten::histc": (_histc, Refused(SYNC, "reads the range on the host", "cuda/SummaryOps.cu")),
    "aten::repeat_interleave.Tensor": (
        _repeats,
        Refused(SHAPE, "without output_size it waits for the sum of the repeats", "Repeat.h"),
    ),
    "aten::masked_fill.Tensor": (_value_on_device(2), _FILL),
    "aten::masked_fill_.Tensor": (_value_on_device(2), _FILL),
    "aten::index_fill.int_Tensor": (_value_on_device(3), _FILL_INDEX),
    "aten::index_fill_.int_Tensor": (_value_on_device(3), _FILL_INDEX),
    "aten::index.Tensor": (_masked, _MASK),
}
"""Operators of which some calls are refused: which, and why. Named with their overloads."""

PUTS = frozenset({"aten::index_put", "aten::index_put_", "aten::_index_put_impl_"})
MASK_PUT = _MASK
VALUE_PUT = Refused(
    COPY,
    "copies a number from the host to the device for tensor[indices] = number",
    "TensorAdvancedIndexing.cpp",
)
"""Both are `_index_put_impl_`: one number under one mask alone is filled in without a copy."""

ELEMENT_COPY = Refused(
    COPY,
    "copies a number from the host to the device for tensor[element] = number",
    "TensorIndexing.h",
)
"""`copy_to`: a number over more than one element is filled in without a copy, by `fill_`."""

HOST_COPY = Refused(
    COPY,
    "copies between host and device, which a capture takes from pinned memory alone and only "
    "with non_blocking=True",
    "cuda/Copy.cu",
)
OTHER_GENERATOR = Refused(
    GENERATOR,
    "draws from a generator that the graph does not know: register_generator_state it",
    "aten/src/ATen/cuda/CUDAGeneratorImpl.cpp",
)


def refused(
    func: OpOverload,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    device_type: str,
) -> Refused | None:
    """Why this call cannot be captured, as far as its operator and arguments tell.

    Copies and ``index_put`` need to know more; `oom_suite.safety.capture_record` judges them.

    Args:
        func: the operator.
        args: its positional arguments.
        kwargs: its other arguments.
        device_type: the device that is captured; data elsewhere is no concern.
    """
    facts = operator(func)
    if kwargs.get("generator") is not None:
        return OTHER_GENERATOR
    found = ALWAYS.get(facts.family)
    if found is None:
        judge, found = SOMETIMES.get(facts.name, (None, None))
        if judge is None or not judge(args, kwargs):
            return None
    on_device = any(device_of(one).type == device_type for one in tensors((args, kwargs)))
    return found if on_device else None
