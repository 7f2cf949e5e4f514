"""The prove lane: the code under fake tensors whose sizes are symbols named as the axes are."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from oom_suite.errors import LaneError
from oom_suite.operators import scratch
from oom_suite.operators.operands import is_foreign, operator, tensors
from oom_suite.records.symbolic import SymbolicAllocation, SymbolicTrace, SymbolicUnseen
from oom_suite.targets.target import target as named
from oom_suite.torch_compat.fake_cuda import literals_made_on_host
from oom_suite.torch_compat.fakes import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)
from oom_suite.torch_compat.symbols import GuardOnDataDependentSymNode
from oom_suite.tracing import attending
from oom_suite.tracing.believing import believing
from oom_suite.tracing.book import Book
from oom_suite.tracing.data_sizes import keeps_every_entry
from oom_suite.tracing.fake_mode import LaneFakeMode
from oom_suite.tracing.host_arrays import numpy_arrays
from oom_suite.tracing.index_ranges import IndexRanges
from oom_suite.tracing.launches import recorded_launches
from oom_suite.tracing.overlaps import UnorderedOverlaps
from oom_suite.tracing.prove.expressions import (
    AgainError,
    symbolic_powers,
    whole_sizes_stay_symbolic,
)
from oom_suite.tracing.prove.quantities import quantity
from oom_suite.tracing.prove.symbolic_compositions import SYMBOLIC_COMPOSITIONS
from oom_suite.tracing.prove.symbols import Symbols
from oom_suite.tracing.recorder import Recorder
from oom_suite.tracing.shadow_device import shadow_device
from oom_suite.tracing.source_lines import lines_under_test
from oom_suite.tracing.starting import one_backward_thread, watched
from oom_suite.tracing.threads import Threads

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

_AT_ONCE = (
    "two threads allocate at once, and which of their sums is the largest depends on the sizes"
)
_MAX_BEGINNINGS = 20
_LOOKED_AT_EVERY = 50
"""Operators after which a long run is asked anew whether an axis has become a number."""
_NEEDS_VALUES = (
    GuardOnDataDependentSymNode,
    DataDependentOutputException,
    DynamicOutputShapeException,
)


class _FarFromItsEndError(BaseException):
    """A run on symbols goes on for longer than it is wanted."""


class ProveLane:
    """Runs a call once with sizes that are symbols.

    The trace's bytes are exact at every size that takes the same branches; those are its guards.

    Does not prove: what the shadow lane does not; nor anything about sizes that take another
    branch, which is why the guards belong to the law.
    """

    name = "prove"

    def __init__(self, root: Path, target: str = "generic") -> None:
        """Show source files relative to `root`.

        Args:
            root: folder that source files are shown relative to.
            target: the device that the code is to believe in, as a user spells it.
        """
        self._target = named(target)
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
        device = shadow_device(self._target)
        symbols = Symbols(hints, self._lines.stack)
        # Without torch's cache: a result of symbolic sizes costs more to describe than to compute.
        fake = LaneFakeMode(symbols.env)
        recorder = self._recorder = _SymbolicRecorder(device.type, self._lines, symbols)
        threads = recorder.threads = Threads((fake, recorder), recorder.overlaps, self._lines)
        fake.elsewhere = threads.elsewhere
        try:
            with (
                recorded_launches(self.launched),
                numpy_arrays(self._array_of),
                believing(self._target),
                attending.kernels_on(self._target),
                symbolic_powers(symbols),
                whole_sizes_stay_symbolic(self._modules, self._is_under_test),
                one_backward_thread(),
                watched(literals_made_on_host, one_backward_thread),
                threads.recorded(),
                fake.refusing(),
            ):
                call = build(symbols.sizes, device)
                symbols.begin_call()
                recorder.begin(hints)
                recorder.record(call)
        except (_FarFromItsEndError, Exception) as error:
            # On its way through other threads the one may have become another.
            if not recorder.is_cut:
                if isinstance(error, _NEEDS_VALUES):
                    raise LaneError(_needs(error, self._where(error))) from error
                raise
        finally:
            self._recorder = None
        if recorder.is_cut:
            return SymbolicTrace(hints, symbols.specialised(), (), (), is_cut=True)
        if recorder.unordered.are_needed:
            raise LaneError(_AT_ONCE)
        return recorder.symbolic_trace(hints)

    def launched(self, kernel: str, arguments: list[object]) -> None:
        """Record a kernel launch by name; what it may have written is unknown from now on."""
        if self._recorder is not None:
            self._recorder.launched(kernel, arguments)
            self._recorder.ranges.forget(arguments)

    def _array_of(self, _fake: torch.Tensor) -> NoReturn:
        where = self._lines.here()
        raise LaneError(f"the code reads values through NumPy{where}, and sizes are symbols here")

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


class _SymbolicRecorder(Recorder):  # type: ignore[no-untyped-call]  # untyped by torch
    """A recorder whose bytes are expressions. It never asks torch to compare two of them."""

    def __init__(self, device_type: str, lines: SourceLines, symbols: Symbols) -> None:
        super().__init__(device_type, lines)
        self._symbols = symbols
        self.unordered = UnorderedOverlaps(*self.books.records)
        self.overlaps = self.unordered
        self.ranges = IndexRanges(symbols.expression)
        self._keeps_every_entry = False
        self._given: dict[tuple[str, tuple[Frame, ...]], tuple[Any, str]] = {}
        self.is_cut = False
        self._end = 0
        self._held: tuple[str, ...] = ()

    def begin(self, hints: Hints) -> None:
        """The builder is done; the call is to be no longer than this."""
        self._end = hints.longest
        self._held = tuple(name for name in hints.held if name in hints.lower)

    def _stop_if_long(self) -> None:
        """End the run where it is long and an axis is a number, which may be why."""
        if self._end and self.books.num_operators >= self._end:
            self._end += _LOOKED_AT_EVERY
            if self._held or self._symbols.specialised():
                self.is_cut = True
                raise _FarFromItsEndError

    def _dispatch(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Run the operator, note what it allocated and what is known of its values."""
        self._stop_if_long()
        fresh = self._symbols.fresh
        fresh.clear()
        compose = SYMBOLIC_COMPOSITIONS.get(operator(func).name) if self._recording else None
        if compose is not None and not is_foreign(types):
            self._flag(func, args, kwargs)
            with self:
                return compose(*args, **kwargs)
        self._keeps_every_entry = keeps_every_entry(operator(func).family, self._device_type)
        result = super()._dispatch(func, types, args, kwargs)
        if result is NotImplemented or is_foreign(types):
            return result
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
        return self._symbols.are_same(self._expressed(num_bytes), self._expressed(had_bytes))

    def _flag(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        reason = scratch.unseen_reason(func, args, kwargs)
        if reason is None or attending.explains(operator(func).family):
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
        books = (self.books.device, self.books.host or Book(), self.books.pinned or Book())
        device, host, pinned = (self._symbolic(book) for book in books)
        unseen = tuple(
            SymbolicUnseen(op, stack, symbols.polynomial(given), reason)
            for (op, stack), (given, reason) in self._given.items()
        )
        guards, requires = symbols.guards()
        trace = SymbolicTrace(
            hints=hints,
            specialised=symbols.specialised(),
            allocations=device,
            events=tuple(books[0].events),
            guards=guards,
            requires=requires,
            quantities=symbols.derived(),
            unseen=unseen,
            launches=tuple(self._launches),
            host_reads=tuple(self._host_reads),
        )
        # The same run, with the same guards and quantities; the kernels' scratch is the device's.
        of_host = replace(trace, unseen=(), launches=(), host_reads=())
        return replace(
            trace,
            host=replace(of_host, allocations=host, events=tuple(books[1].events)),
            pinned=replace(of_host, allocations=pinned, events=tuple(books[2].events)),
        )

    def _symbolic(self, book: Book) -> tuple[SymbolicAllocation, ...]:
        return tuple(
            SymbolicAllocation(self._symbols.polynomial(num_bytes), op, stack)
            for num_bytes, op, stack, *_ in book.requests
        )
