"""The prove lane: the code under fake tensors whose sizes are symbols named as the axes are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from oom_suite.errors import LaneError
from oom_suite.operators import scratch
from oom_suite.operators.operands import DEVICE_QUERY, is_foreign, operator, tensors
from oom_suite.records.symbolic import SymbolicAllocation, SymbolicTrace, SymbolicUnseen
from oom_suite.torch_compat.fakes import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeMode,
)
from oom_suite.torch_compat.private_device import literals_made_on_host
from oom_suite.torch_compat.symbols import GuardOnDataDependentSymNode
from oom_suite.tracing.index_values import _KEEP_EVERY_ENTRY as KEEP_EVERY_ENTRY
from oom_suite.tracing.launches import recorded_launches
from oom_suite.tracing.prove.expressions import (
    AgainError,
    symbolic_powers,
    whole_sizes_stay_symbolic,
)
from oom_suite.tracing.prove.index_ranges import IndexRanges
from oom_suite.tracing.prove.quantities import quantity
from oom_suite.tracing.prove.symbolic_compositions import SYMBOLIC_COMPOSITIONS
from oom_suite.tracing.prove.symbols import Symbols
from oom_suite.tracing.recorder import Recorder
from oom_suite.tracing.shadow_device import shadow_device
from oom_suite.tracing.source_lines import lines_under_test

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import FrameType

    import torch

    from oom_suite.records import Frame
    from oom_suite.records.symbolic import Hints
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.lane import Build
    from oom_suite.tracing.source_lines import SourceLines

_NOT_RECORDED = -1
_LIFT = "aten::lift_fresh"
_MAX_BEGINNINGS = 20
_NEEDS_VALUES = (
    GuardOnDataDependentSymNode,
    DataDependentOutputException,
    DynamicOutputShapeException,
)


class ProveLane:
    """Runs a call once with sizes that are symbols.

    The trace's bytes are exact at every size that takes the same branches; those are its guards.

    Does not prove: what the shadow lane does not; nor anything about sizes that take another
    branch, which is why the guards belong to the law.
    """

    name = "prove"

    def __init__(self, root: Path) -> None:
        """Show source files relative to `root`."""
        self._lines = lines_under_test(root)
        self._recorder: _SymbolicRecorder | None = None
        self._modules: dict[int, dict[str, Any]] = {}

    def run(self, build: Build, hints: Hints) -> SymbolicTrace:
        """The trace of one call of ``build(sizes, device)``, the sizes being symbols.

        Raises:
            LaneError: the code needs a value, or a size as a number, where none is known.
        """
        for _ in range(_MAX_BEGINNINGS):
            with contextlib.suppress(AgainError):
                return self._run(build, hints)
        msg = "the code under test keeps asking for numbers: prove cannot run it"
        raise LaneError(msg)

    def _run(self, build: Build, hints: Hints) -> SymbolicTrace:
        device = shadow_device()
        symbols = Symbols(hints, self._lines.stack)
        # Without torch's cache: a result of symbolic sizes costs more to describe than to compute.
        fake = FakeMode(symbols.env)
        recorder = self._recorder = _SymbolicRecorder(device.type, self._lines, symbols)
        try:
            with (
                recorded_launches(self.launched),
                literals_made_on_host(),
                symbolic_powers(symbols),
                whole_sizes_stay_symbolic(self._modules, self._is_under_test),
                fake,
                recorder,
            ):
                call = build(symbols.sizes, device)
                symbols.begin_call()
                recorder.record(call)
        except _NEEDS_VALUES as error:
            raise LaneError(_needs(error, self._where(error))) from error
        finally:
            self._recorder = None
        return recorder.symbolic_trace(hints)

    def launched(self, kernel: str, arguments: list[object]) -> None:
        """Record a kernel launch by name; what it may have written is unknown from now on."""
        if self._recorder is not None:
            self._recorder.launched(kernel)
            self._recorder.ranges.forget(arguments)

    def _where(self, error: BaseException) -> str:
        """The innermost line under test in an error's traceback, as `` at file:line``."""
        trace, found = error.__traceback__, ""
        while trace is not None:
            frame = self._lines._read(trace.tb_frame.f_code, trace.tb_lineno)
            found = f" at {frame}" if frame is not None else found
            trace = trace.tb_next
        return found

    def _is_under_test(self, frame: FrameType) -> bool:
        stack = self._lines.stack()
        return bool(stack) and (stack[0].line, stack[0].function) == (
            frame.f_lineno,
            frame.f_code.co_name,
        )


def _needs(error: Exception, where: str) -> str:
    why = (str(error).strip().splitlines() or [""])[0].partition(" (unhinted")[0]
    return f"the code needs a number that data decides{where}: {why}"


class _SymbolicRecorder(Recorder):  # type: ignore[no-untyped-call]  # by torch
    """A recorder whose bytes are expressions. It never asks torch to compare two of them."""

    def __init__(self, device_type: str, lines: SourceLines, symbols: Symbols) -> None:
        super().__init__(device_type, lines)
        self._symbols = symbols
        self.ranges = IndexRanges(symbols.expression)
        self._keeps_every_entry = False
        self._given: dict[tuple[str, tuple[Frame, ...]], tuple[Any, str]] = {}

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator, note what it allocated and what is known of its values."""
        fresh = self._symbols.fresh
        fresh.clear()
        compose = SYMBOLIC_COMPOSITIONS.get(operator(func).name) if self._recording else None
        if compose is not None and not is_foreign(types):
            self._flag(func, args, kwargs or {})
            with self:
                return compose(*args, **(kwargs or {}))
        self._keeps_every_entry = operator(func).family in KEEP_EVERY_ENTRY
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if func is DEVICE_QUERY or result is NotImplemented or is_foreign(types):
            return result
        kwargs = kwargs or {}
        for symbol in fresh:
            stack = self._lines.stack()
            self._symbols.quantities.setdefault(
                symbol, quantity(self._symbols, self.ranges, func, args, stack)
            )
        fresh.clear()
        self.ranges.follow(func, args, kwargs, result)
        return result

    def _bytes_of(self, storage: Any, tensor: torch.Tensor, args: tuple[Any, ...]) -> Any:
        if self._keeps_every_entry:
            # The first result alone: on a GPU it keeps the storage of all that was sorted.
            self._keeps_every_entry = False
            return self._symbols.expression(args[0].numel()) * tensor.element_size()
        return self._symbols.expression(storage.nbytes())

    def _expressed(self, num_bytes: Any) -> Any:
        return self._symbols.expression(num_bytes)

    def _are_same(self, num_bytes: Any, had_bytes: Any) -> bool:
        return self._symbols.are_same(num_bytes, had_bytes)

    def _flag(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        reason = scratch.unseen_reason(func, args, kwargs)
        if reason is None:
            return
        key = (operator(func).family, self._lines.stack())
        expression = self._symbols.expression
        given = sum(
            expression(tensor.numel()) * tensor.element_size() for tensor in tensors((args, kwargs))
        )
        self._given.setdefault(key, (given, reason))

    def symbolic_trace(self, hints: Hints) -> SymbolicTrace:
        """What was recorded, in the axes' names."""
        symbols = self._symbols
        requests: list[tuple[Any, str, tuple[Frame, ...], bool]] = self._requests
        allocations = tuple(
            SymbolicAllocation(symbols.polynomial(num_bytes), op, stack)
            for num_bytes, op, stack, _ in requests
        )
        unseen = tuple(
            SymbolicUnseen(op, stack, symbols.polynomial(given), reason)
            for (op, stack), (given, reason) in self._given.items()
        )
        guards, requires = symbols.guards()
        return SymbolicTrace(
            hints=hints,
            specialised=symbols.specialised(),
            allocations=allocations,
            events=tuple(self._events),
            guards=guards,
            requires=requires,
            quantities=symbols.derived(),
            unseen=unseen,
            launches=tuple(self._launches),
            host_reads=tuple(self._host_reads),
        )
