"""Real tensors that stand beside fake ones, one for each fake storage."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import no_dispatch, storage_key
from oom_suite.torch_compat.fakes import FakeTensor, device_of

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_INDEX_BYTES = 128 * 1024 * 1024
"""Largest index tensor whose values are kept: index data is far smaller, pools far larger."""

MAX_FLOAT_BYTES = 64 * 1024
"""Largest float tensor whose values are kept: literals, and statistics of index data."""

_INDEX_DTYPES = frozenset({torch.bool, torch.int16, torch.int32, torch.int64})
_FLOAT_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


def is_kept(tensor: torch.Tensor) -> bool:
    """Whether the tensor's values are worth keeping; a cache's bytes (uint8, fp8) never are."""
    num_bytes = tensor.numel() * tensor.element_size()
    if tensor.dtype in _INDEX_DTYPES:
        return num_bytes <= MAX_INDEX_BYTES
    return tensor.dtype in _FLOAT_DTYPES and num_bytes <= MAX_FLOAT_BYTES


def holds_index_data(tensor: torch.Tensor) -> bool:
    """Whether the tensor is of a type that indices, lengths and masks have."""
    return tensor.dtype in _INDEX_DTYPES


class RealValues:
    """The real values of fake tensors, as far as they are known.

    They are kept per storage: views and writes through views need no special care.
    """

    def __init__(self) -> None:
        self._storages: dict[int, tuple[weakref.ref[Any], torch.UntypedStorage]] = {}

    def are_known(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor is real and on the host, or fake with a real one beside it."""
        if isinstance(tensor, FakeTensor):
            return storage_key(tensor.untyped_storage()) in self._storages
        return device_of(tensor).type == "cpu"

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The real tensor beside this one, sharing memory with what its views share."""
        if not isinstance(tensor, FakeTensor):
            return tensor
        storage = self._storages[storage_key(tensor.untyped_storage())][1]
        base = torch.empty(0, dtype=tensor.dtype)
        return base.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())

    def extremes(self, tensor: torch.Tensor) -> tuple[int, int] | None:
        """The least and the largest of whole numbers; None where they are not known."""
        if not holds_index_data(tensor) or not self.are_known(tensor) or not tensor.numel():
            return None
        with no_dispatch():
            real = self.of(tensor)
            return int(real.min()), int(real.max())

    def keep(self, fake: torch.Tensor, real: torch.Tensor) -> None:
        """Remember the values of a new fake tensor where they are worth it."""
        # Some operators give a device a buffer that they do not give the CPU, or an empty one.
        if not is_kept(fake) or real.shape != fake.shape:
            return
        with no_dispatch():
            if real.stride() != fake.stride() or real.storage_offset() != fake.storage_offset():
                laid_out = torch.empty_strided(fake.size(), fake.stride(), dtype=real.dtype)
                real = laid_out.copy_(real)
        storage = fake.untyped_storage()
        key = storage_key(storage)

        def died(reference: weakref.ref[Any]) -> None:
            entry = self._storages.get(key)
            if entry is not None and entry[0] is reference:
                del self._storages[key]

        self._storages[key] = (weakref.ref(storage, died), real.untyped_storage())

    def forget(self, written: Iterable[torch.Tensor]) -> None:
        """Unknown values were written: what they were written to is unknown from now on."""
        for tensor in written:
            if isinstance(tensor, FakeTensor):
                self._storages.pop(storage_key(tensor.untyped_storage()), None)
