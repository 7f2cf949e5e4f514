"""Keeps the real values of small index tensors beside the fake ones.

A fake tensor has sizes and no values. Code that reads a value on the host (`.item()`), or
whose sizes depend on values (`torch.unique`), still runs when those values come from index
data: that is small, so it is computed for real on the CPU while everything else stays fake.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
)
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only

from oom_suite.errors import LaneError
from oom_suite.lanes.operands import DEVICE_QUERY, device_type, tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_VALUE_BYTES = 128 * 1024 * 1024
"""Largest tensor whose values are kept: index data is far smaller, pools far larger."""

_INDEX_DTYPES = frozenset({torch.bool, torch.int16, torch.int32, torch.int64})
_FACTORIES_OF_GARBAGE = frozenset({"aten::empty", "aten::empty_strided", "aten::empty_like"})


class IndexValues(TorchDispatchMode):
    """A dispatch mode, to be entered above a `FakeTensorMode`, that tracks integer values.

    Real values are kept per fake storage, so views and in-place writes need no special care.
    A value is known while everything it was computed from is known; a kernel launch makes
    its arguments unknown (`forget`).
    """

    def __init__(self) -> None:
        """Start with no values known."""
        super().__init__()
        self._real: dict[int, tuple[weakref.ref[Any], torch.UntypedStorage]] = {}

    def forget(self, tensor: torch.Tensor) -> None:
        """Treat the tensor's values as unknown from now on."""
        self._real.pop(tensor.untyped_storage()._cdata, None)  # noqa: SLF001

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler (a second of start-up) to wrap each call."""
        return False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],  # noqa: ARG002 - torch's signature
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operator returns
        """Run the operator on the fakes and, where all its values are known, on those too."""
        kwargs = dict(kwargs or {})
        if func is DEVICE_QUERY:
            return func(*args)
        leaves = list(tensors((args, kwargs)))
        schema = func._schema  # noqa: SLF001 - no public accessor
        if schema.name == "aten::_local_scalar_dense":
            return self._read(args[0])
        returns_alias = any(r.alias_info is not None for r in schema.returns)
        if returns_alias and not schema.is_mutable and schema.name != "aten::lift_fresh":
            return func(*args, **kwargs)
        known = all(self._known(leaf) for leaf in leaves)
        try:
            result = func(*args, **kwargs)
        except (DynamicOutputShapeException, DataDependentOutputException) as error:
            if not known:
                msg = (
                    f"{schema.name} needs values that exist only on a device: its input does "
                    "not come from index data; run it in the measure lane"
                )
                raise LaneError(msg) from error
            return self._shaped_by_values(func, args, kwargs, leaves)
        if not known:
            if schema.is_mutable:
                self._forget_written(func, args, kwargs)
            return result
        outputs = list(tensors(result))
        if schema.is_mutable:
            self._run_real(func, args, kwargs)
        elif outputs and all(_is_kept(output) for output in outputs):
            real = self._run_real(func, args, kwargs)
            for fake_leaf, real_leaf in zip(outputs, tensors(real), strict=True):
                self._keep(fake_leaf, real_leaf)
        return result

    def _read(self, tensor: torch.Tensor) -> Any:  # noqa: ANN401 - a Python number
        if not self._known(tensor):
            msg = (
                "the code reads a tensor's value on the host (.item(), int(), bool()), and the "
                "value does not come from index data; run it in the measure lane"
            )
            raise LaneError(msg)
        with _disable_current_modes():
            return self._value(tensor).item()

    def _known(self, tensor: torch.Tensor) -> bool:
        if not isinstance(tensor, FakeTensor):
            return device_type(tensor) == "cpu"
        return tensor.untyped_storage()._cdata in self._real  # noqa: SLF001

    def _value(self, tensor: torch.Tensor) -> torch.Tensor:
        """The real tensor beside this one, sharing memory with what its views share."""
        if not isinstance(tensor, FakeTensor):
            return tensor
        storage = self._real[tensor.untyped_storage()._cdata][1]  # noqa: SLF001
        base = torch.empty(0, dtype=tensor.dtype)
        return base.set_(  # type: ignore[no-untyped-call]  # torch does not annotate set_
            storage, tensor.storage_offset(), tensor.size(), tensor.stride()
        )

    def _run_real(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # noqa: ANN401
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        kwargs.pop("pin_memory", None)
        with _disable_current_modes():
            real_args, real_kwargs = tree_map_only(torch.Tensor, self._value, (args, kwargs))
            result = func(*real_args, **real_kwargs)
            if func._schema.name in _FACTORIES_OF_GARBAGE:  # noqa: SLF001
                # Uninitialised memory would make two runs differ.
                result.zero_()
            return result

    def _shaped_by_values(
        self,
        func: torch._ops.OpOverload,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        leaves: list[torch.Tensor],
    ) -> Any:  # noqa: ANN401
        """The fake result of an operator whose shape the real values decide."""
        real = self._run_real(func, args, kwargs)
        device = leaves[0].device

        def fake(value: torch.Tensor) -> torch.Tensor:
            made = torch.empty_strided(
                value.size(), value.stride(), dtype=value.dtype, device=device
            )
            self._keep(made, value)
            return made

        return tree_map_only(torch.Tensor, fake, real)

    def _keep(self, fake: torch.Tensor, real: torch.Tensor) -> None:
        if not _is_kept(fake):
            return
        with _disable_current_modes():
            if real.stride() != fake.stride() or real.storage_offset() != fake.storage_offset():
                laid_out = torch.empty_strided(fake.size(), fake.stride(), dtype=real.dtype)
                real = laid_out.copy_(real)
        storage = fake.untyped_storage()
        key = storage._cdata  # noqa: SLF001

        def died(reference: weakref.ref[Any]) -> None:
            entry = self._real.get(key)
            if entry is not None and entry[0] is reference:
                del self._real[key]

        self._real[key] = (weakref.ref(storage, died), real.untyped_storage())

    def _forget_written(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """An unknown value was written: what it was written to is unknown too."""
        for position, argument in enumerate(func._schema.arguments):  # noqa: SLF001
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            written = kwargs.get(argument.name, args[position] if position < len(args) else None)
            for leaf in tensors(written):
                if isinstance(leaf, FakeTensor):
                    self.forget(leaf)


def _is_kept(tensor: torch.Tensor) -> bool:
    """Whether the tensor is of an index type (uint8 is cache bytes) and small enough."""
    return (
        tensor.dtype in _INDEX_DTYPES
        and tensor.numel() * tensor.element_size() <= MAX_VALUE_BYTES
    )
