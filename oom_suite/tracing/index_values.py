"""Computes index data for real while everything else stays fake.

A fake tensor has sizes and no values. Code that reads a value on the host (`.item()`), or
whose sizes depend on values (`torch.unique`), still runs when those values come from index
data: that is small, so it is computed for real on the CPU beside the fake run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.operators.operands import (
    DEVICE_QUERY,
    is_foreign,
    operator,
    tensors,
    with_tensors,
    written_tensors,
)
from oom_suite.torch_compat.dispatch import DispatchMode, no_dispatch
from oom_suite.torch_compat.fakes import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeMode,
    device_of,
    fake_of,
    forget_literal,
    is_real,
)
from oom_suite.tracing.real_values import RealValues, holds_index_data, is_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.torch_compat.dispatch import OpOverload

_READ = "aten::_local_scalar_dense"
_LIFT = "aten::lift_fresh"
_FACTORIES_OF_GARBAGE = frozenset(
    {"aten::empty", "aten::empty_strided", "aten::empty_like", "aten::new_empty"}
)

# What a CPU cannot compute is unknown, no more; a wrong index is an IndexError and is told.
_NO_CPU_KERNEL = (RuntimeError, NotImplementedError)


_KEEP_EVERY_ENTRY = frozenset({"aten::_unique", "aten::_unique2"})
"""Operators whose first result, on a GPU, keeps the storage of everything that was sorted."""


class IndexValues(DispatchMode):
    """A dispatch mode, to be entered above a `FakeMode`, that tracks small values.

    A value is known while everything it was computed from is known. Uninitialised index data
    reads as zeros, so that two runs agree.

    Args:
        fake: the mode below.
        where: the line of the code under test that runs now, as `` at file:line (function)``.
    """

    def __init__(self, fake: FakeMode, where: Callable[[], str]) -> None:
        """Start with no values known."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._values = RealValues()
        self._fake = fake
        self._where = where

    def forget(self, written: Sequence[torch.Tensor]) -> None:
        """Treat these tensors' values as unknown from now on: a kernel may have written them."""
        self._values.forget(written)

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator on the fakes and, where all its values are known, on those too."""
        if func is DEVICE_QUERY:
            return func(*args)
        if is_foreign(types):
            return NotImplemented
        kwargs = kwargs or {}
        facts = operator(func)
        if facts.family == _READ:
            return self._read(args[0])
        leaves = list(tensors((args, kwargs)))
        if facts.family != _LIFT and any(map(is_real, leaves)):
            args, kwargs = with_tensors(self._faked, (args, kwargs))
            leaves = list(tensors((args, kwargs)))
        if facts.returns_alias and not facts.is_mutable and facts.family != _LIFT:
            return func(*args, **kwargs)
        known = all(map(self._values.are_known, leaves))
        try:
            result = func(*args, **kwargs)
        except (DynamicOutputShapeException, DataDependentOutputException) as error:
            if not known:
                raise self._refusal(f"{facts.family} has a result that depends on") from error
            return self._shaped_by_values(func, args, kwargs)
        if known:
            self._follow(func, args, kwargs, result)
        elif facts.is_mutable:
            self._values.forget(written_tensors(facts, args, kwargs))
        return result

    def _faked(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor from before the call, a constant of a module say, as a fake with its values."""
        if not is_real(tensor):
            return tensor
        fake = fake_of(tensor, self._fake)
        forget_literal(fake)
        if not self._values.are_known(fake):
            self._values.keep(fake, tensor)
        return fake

    def _follow(
        self,
        func: OpOverload,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
    ) -> None:
        """Do for real what was just done on the fakes, where the result is worth it."""
        facts = operator(func)
        outputs = list(tensors(result))
        if facts.is_mutable:
            try:
                self._run_real(func, args, kwargs)
            except _NO_CPU_KERNEL:
                self._values.forget(written_tensors(facts, args, kwargs))
            return
        if facts.family == _LIFT:
            # torch would go on computing with its own copy of a literal, wherever it is moved.
            forget_literal(result)
        if not outputs or not all(is_kept(output) for output in outputs):
            return
        if facts.family in _FACTORIES_OF_GARBAGE and not holds_index_data(outputs[0]):
            return
        try:
            real = self._run_real(func, args, kwargs)
        except _NO_CPU_KERNEL:
            return
        for fake_leaf, real_leaf in zip(outputs, tensors(real), strict=True):
            self._values.keep(fake_leaf, real_leaf)

    def _read(self, tensor: torch.Tensor) -> Any:
        if not self._values.are_known(tensor):
            raise self._refusal(
                "aten::_local_scalar_dense (.item(), int(), bool(), .tolist()) reads"
            )
        with no_dispatch():
            return self._values.of(tensor).item()

    def _refusal(self, what: str) -> LaneError:
        return LaneError(
            f"{what} a value that exists only on a device{self._where()}: it does not come from "
            "index data alone; run it in the measure lane"
        )

    def _run_real(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        changed = dict(kwargs)
        changed.pop("pin_memory", None)
        if changed.get("device") is not None:
            changed["device"] = torch.device("cpu")
        with no_dispatch():
            real_args, real_kwargs = with_tensors(self._values.of, (args, changed))
            result = func(*real_args, **real_kwargs)
            if operator(func).family in _FACTORIES_OF_GARBAGE:
                result.zero_()
            return result

    def _shaped_by_values(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The fake result of an operator whose shape the real values decide."""
        real = self._run_real(func, args, kwargs)
        if operator(func).is_mutable:
            msg = f"{operator(func).name} resizes its out= by values{self._where()}: not supported"
            raise LaneError(msg)
        first = next(tensors((args, kwargs)))
        device = device_of(first)

        def fake(value: torch.Tensor, num_stored: int) -> torch.Tensor:
            size, stride, dtype = value.size(), value.stride(), value.dtype
            if num_stored > value.numel():
                whole = torch.empty(num_stored, dtype=dtype, device=device)
                made = whole.as_strided(size, stride)
            else:
                made = torch.empty_strided(size, stride, dtype=dtype, device=device)
            self._values.keep(made, value)
            return made

        if operator(func).family in _KEEP_EVERY_ENTRY and device.type != "cpu":
            # Source: PyTorch 2.13 cuda/Unique.cu: what was sorted is resized, not copied.
            values, *others = real
            return fake(values, first.numel()), *(fake(other, 0) for other in others)
        return with_tensors(lambda value: fake(value, 0), real)
