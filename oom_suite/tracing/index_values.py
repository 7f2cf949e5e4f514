"""Computes index data for real while everything else stays fake.

A fake tensor has sizes and no values. Code that reads a value on the host (`.item()`), or
whose sizes depend on values (`torch.unique`), still runs when those values come from index
data: that is small, so it is computed for real on the CPU beside the fake run.

No value is drawn: what comes from a random operator is unknown, unless the code hands it a
generator of its own. Where a size depends on unknown values, `DataSizes` gives the worst case.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.operators.operands import (
    DEVICE_QUERY,
    has_tensors,
    is_foreign,
    operator,
    tensors,
    with_tensors,
    written_tensors,
)
from oom_suite.torch_compat.dispatch import DispatchMode, is_view, no_dispatch
from oom_suite.torch_compat.fakes import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeMode,
    UnsupportedOperatorException,
    device_of,
    fake_of,
    forget_literal,
    is_real,
)
from oom_suite.tracing.data_sizes import DataSizes, compared, is_sized, stored_entries
from oom_suite.tracing.host_reads import HostReads
from oom_suite.tracing.index_ranges import IndexRanges
from oom_suite.tracing.lane_spec import MOST
from oom_suite.tracing.real_values import RealValues, holds_index_data, is_kept
from oom_suite.tracing.splits import Splits
from oom_suite.tracing.uniform import Uniform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy

    from oom_suite.records import DataSize
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.source_lines import SourceLines

_DECIDED_BY_VALUES = (
    DynamicOutputShapeException,
    DataDependentOutputException,
    UnsupportedOperatorException,
)
_READ = "aten::_local_scalar_dense"
_LIFT = "aten::lift_fresh"
_FACTORIES_OF_GARBAGE = frozenset(
    {"aten::empty", "aten::empty_strided", "aten::empty_like", "aten::new_empty"}
)
_SEQUENCES = frozenset({"aten::linspace", "aten::logspace"})
"""Operators whose values nobody makes in place of others: a model's rates are read from them."""

_RESIZES = frozenset({"aten::resize_", "aten::resize_as_", "aten::set_"})

# What a CPU cannot compute is unknown, no more; a wrong index is an IndexError and is told.
_NO_CPU_KERNEL = (RuntimeError, NotImplementedError)

_MAX_COMPARED = 4096
"""Entries of a tensor, at most, whose values are looked at one by one."""


class IndexValues(DispatchMode):
    """A dispatch mode, to be entered above a `FakeMode`, that tracks small values.

    A value is known while everything it was computed from is known. Uninitialised index data
    reads as zeros, so that two runs agree.
    """

    def __init__(self, fake: FakeMode, lines: SourceLines) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._values = RealValues()
        self._ranges = IndexRanges(_number, self._values.extremes)
        self._splits = Splits(self._numbers)
        self._drawn = Uniform()
        self._sizes = DataSizes(self._ranges, self._splits, lines.stack)
        self._host = HostReads(self._values, self._ranges, lines)
        self._fake = fake
        self._lines = lines

    def begin(self, choice: str = MOST) -> None:
        """Start with the builder of a call.

        Args:
            choice: how much of what data may choose is taken, as `oom_suite.tracing.lane_spec`
                has it.
        """
        self._sizes.begin(choice)
        self._host.begin()
        self._is_call = False

    def begin_call(self) -> None:
        """The builder is done: what follows is the code under test."""
        self._is_call = True

    @property
    def data_sizes(self) -> tuple[DataSize, ...]:
        """The sizes that data decided since `begin`."""
        return self._sizes.noted

    def forget(self, written: Sequence[torch.Tensor]) -> None:
        """Treat these tensors' values as unknown from now on: a kernel may have written them."""
        self._values.forget(written)
        self._ranges.forget(written)
        self._splits.forget(written)
        self._drawn.forget(written)

    def array_of(self, fake: torch.Tensor) -> numpy.ndarray[Any, Any]:
        """The values of a tensor, as `HostReads.array_of` gives them."""
        return self._host.array_of(fake)

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
        self._host.before(facts.family)
        if facts.family == _READ:
            return self._host.scalar(args[0])
        leaves = list(tensors((args, kwargs)))
        if facts.family != _LIFT and any(map(is_real, leaves)):
            args, kwargs = with_tensors(self._faked, (args, kwargs))
            leaves = list(tensors((args, kwargs)))
        if facts.returns_alias and not facts.is_mutable and facts.family != _LIFT:
            return func(*args, **kwargs)
        is_drawn = _is_random(func) and kwargs.get("generator") is None
        known = not is_drawn and all(map(self._values.are_known, leaves))
        try:
            result = func(*args, **kwargs)
        except _DECIDED_BY_VALUES as error:
            if isinstance(error, UnsupportedOperatorException) and not is_sized(facts.family):
                raise
            if known:
                return self._shaped_by_values(func, args, kwargs)
            result = self._at_worst(func, args, kwargs, error)
        if known:
            self._follow(func, args, kwargs, result)
        elif facts.is_mutable:
            self._values.forget(written_tensors(facts, args, kwargs))
        self._drawn.forget(written_tensors(facts, args, kwargs))
        self._drawn.follow(facts.family, result)
        self._ranges.follow(func, args, kwargs, result)
        self._splits.follow(func, args, kwargs, result)
        if not known and not facts.is_mutable:
            self._keep_sure(facts.family, args, result)
        return result

    def _keep_sure(self, family: str, args: tuple[Any, ...], result: Any) -> None:
        """A comparison's values are known where ranges decide it: ``expert < num_experts``."""
        truth = self._drawn.compared(family, args)
        if truth is None:
            truth = compared(family, self._ranges, args)
        if truth is not None:
            with no_dispatch():
                real = torch.full(result.shape, truth)
            self._values.keep(result, real)

    def _at_worst(
        self,
        func: OpOverload,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        error: Exception,
    ) -> Any:
        """The result of an operator whose size depends on values that are not known."""
        try:
            return self._sizes.result(func, args, kwargs)
        except LaneError as unbounded:
            raise self._host.refusal(str(unbounded)) from error

    def _numbers(self, tensor: torch.Tensor) -> list[Any] | None:
        """The values of a short tensor; None where they are not known."""
        if tensor.numel() > _MAX_COMPARED or not self._values.are_known(tensor):
            return None
        with no_dispatch():
            return self._values.of(tensor).flatten().tolist()

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
            if is_view(func) and facts.family not in _RESIZES:
                # The fake itself has another shape now: its values are where they were.
                return
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
        if not holds_index_data(outputs[0]) and self._is_stand_in(
            facts.family, args, kwargs, result
        ):
            return
        try:
            real = self._run_real(func, args, kwargs)
        except _NO_CPU_KERNEL:
            return
        for fake_leaf, real_leaf in zip(outputs, tensors(real), strict=True):
            self._values.keep(fake_leaf, real_leaf)

    def _is_stand_in(
        self, family: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> bool:
        """Whether floats are no values that code may go by.

        Those that nobody wrote; and what a builder makes of nothing, in place of a model's own:
        zeros that are activations would choose no row of a mask. One number alone is a scale.
        """
        if family in _FACTORIES_OF_GARBAGE:
            return True
        if self._is_call or not isinstance(result, torch.Tensor) or result.numel() == 1:
            return False
        if family in _SEQUENCES:
            return False
        if family == _LIFT:
            # NumPy's memory, which may be drawn; a literal's can be resized.
            return not args[0].untyped_storage().resizable()
        return not has_tensors((args, kwargs)) and kwargs.get("generator") is None

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
            where = self._lines.here()
            raise LaneError(
                f"{operator(func).name} resizes its out= by values{where}: not supported"
            )
        device = device_of(next(tensors((args, kwargs))))

        def fake(value: torch.Tensor, num_stored: int) -> torch.Tensor:
            size, stride, dtype = value.size(), value.stride(), value.dtype
            if num_stored > value.numel():
                whole = torch.empty(num_stored, dtype=dtype, device=device)
                made = whole.as_strided(size, stride)
            else:
                made = torch.empty_strided(size, stride, dtype=dtype, device=device)
            self._values.keep(made, value)
            return made

        stored = stored_entries(func, args, kwargs)
        if any(stored):
            return tuple(map(fake, real, stored))
        return with_tensors(lambda value: fake(value, 0), real)


@functools.cache
def _is_random(func: OpOverload) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _number(value: Any) -> Any:
    """A plain number as sympy has it."""
    import sympy  # type: ignore[import-untyped]  # sympy has no types

    return sympy.Integer(value)
