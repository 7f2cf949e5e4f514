"""Records what a call asks of the allocator, from the operators that pass through dispatch."""

from __future__ import annotations

import functools
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators import cuda_scratch, scratch
from oom_suite.operators.compositions import COMPOSITIONS
from oom_suite.operators.operands import (
    DEVICE_QUERY,
    is_foreign,
    operator,
    tensors,
    written_tensors,
)
from oom_suite.records import Allocation, Event, Frame, Launch, Trace, Unseen
from oom_suite.torch_compat.dispatch import DispatchMode, is_composed, storage_key, taken_apart
from oom_suite.torch_compat.fakes import device_of
from oom_suite.tracing.overlaps import Overlaps, in_order
from oom_suite.tracing.source_lines import enter_code_under_test, no_collections
from oom_suite.tracing.unwritten import Unwritten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.operators.compositions import Composition
    from oom_suite.operators.cuda_scratch import Step
    from oom_suite.operators.operands import Operator
    from oom_suite.records import Measurement
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.source_lines import SourceLines
    from oom_suite.tracing.threads import Threads

_NOT_RECORDED = -1
_SCALAR = "aten::scalar_tensor"
_LIFT = "aten::lift_fresh"
_COPY = "aten::_to_copy"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the recorder does with an operator, decided once."""

    facts: Operator
    compose: Composition | None
    is_composed: bool
    is_noted: bool


@functools.cache
def _plan(func: OpOverload) -> _Plan:
    facts = operator(func)
    reads = facts.family in scratch.HOST_READS or facts.family in scratch.SHAPE_READS
    is_noted = reads or facts.family == _COPY or scratch.may_be_unseen(facts.family)
    return _Plan(facts, COMPOSITIONS.get(facts.name), is_composed(func), is_noted)


class Recorder(DispatchMode):
    """A dispatch mode that turns new storages into allocations and dead ones into frees.

    A storage that an operator returns and that was not seen before is an allocation; the
    death of that storage, told by a weak reference, is its free. What the builder made, and
    what was there before, counts as input.

    Args:
        device_type: only storages on this type of device are recorded (``"cpu"``, ``"cuda"``).
        lines: reads the stack, from `oom_suite.tracing.source_lines.lines_under_test`.
        scratch: ``"cuda"`` to add what CUDA's kernels allocate inside; empty to leave it out.

    Does not prove: that a kernel allocates nothing inside. `oom_suite.operators.scratch` lists the
    operators known to; their calls are in `Trace.unseen`. Nor who allocates in a backward pass
    that autograd runs on a thread of its own: there is no line of Python on that stack.

    Attributes:
        threads: the threads that record here; None for the calling one alone.
        overlaps: what one of them may still have taken while another goes on.
    """

    def __init__(self, device_type: str, lines: SourceLines, scratch: str = "") -> None:
        """Start in the builder's phase: storages made before `record` are inputs."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._device_type = device_type
        self._lines = lines
        self._scratch = scratch
        self._recording = False
        self._storages: dict[int, tuple[weakref.ref[Any], int, int]] = {}
        # Plain tuples: making records costs more than all else that a request takes.
        self._requests: list[tuple[Any, ...]] = []
        self._events: list[tuple[str, int]] = []
        self._unseen: dict[tuple[str, tuple[Frame, ...]], Unseen] = {}
        self._launches: list[Launch] = []
        self._host_reads: dict[Frame, None] = {}
        self._input_bytes = 0
        self._literal: weakref.ref[Any] | None = None
        self._unwritten: Unwritten | None = None
        self.threads: Threads | None = None
        self.overlaps = Overlaps(self._requests, self._events)

    def record(self, call: Callable[[], object]) -> None:
        """Run the call once and record it. The result is dropped at the end."""
        with no_collections():
            self._input_bytes = sum(num_bytes for _, _, num_bytes in self._storages.values())
            self._unwritten = Unwritten(call)
            self._recording = True
            try:
                if self.threads is None:
                    enter_code_under_test(call)
                else:
                    self.threads.call(call)
            finally:
                self._recording = False

    def launched(self, kernel: str, arguments: Sequence[object] = ()) -> None:
        """Note a kernel that a fake lane did not run, and that may write what it is given."""
        if self._recording:
            self._launches.append(Launch(kernel, self._lines.stack()))
            if self._unwritten:
                self._unwritten.wrote(tensors(arguments))

    def trace(
        self, lane: str, sizes: Mapping[str, int], measurement: Measurement | None = None
    ) -> Trace:
        """What was recorded so far."""
        is_one = self.threads is None or self.threads.are_one
        events = self._events if is_one else in_order(self._events)
        return Trace(
            lane=lane,
            sizes=dict(sizes),
            allocations=tuple(Allocation(*request) for request in self._requests),
            events=tuple(Event(*event) for event in events),
            input_bytes=self._input_bytes,
            unseen=tuple(self._unseen.values()),
            launches=tuple(self._launches),
            host_reads=tuple(self._host_reads),
            measurement=measurement,
            unrecorded=(
                *(self._unwritten.reasons if self._unwritten is not None else ()),
                *(self.threads.unrecorded if self.threads is not None else ()),
            ),
        )

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator, in its thread's turn, and note what it allocated."""
        if func is DEVICE_QUERY:
            return device_of(args[0])
        threads = self.threads
        if threads is None or threads.are_one:
            return self._dispatch(func, types, args, kwargs)
        threads.enter()
        try:
            return self._dispatch(func, types, args, kwargs)
        finally:
            threads.leave()

    def _dispatch(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
    ) -> Any:
        if types and is_foreign(types):
            # A subclass runs operators of its own; those come back here one by one.
            return NotImplemented
        kwargs = kwargs or {}
        plan = _plan(func)
        if self._unwritten and plan.facts.is_mutable:
            self._unwritten.wrote(written_tensors(plan.facts, args, kwargs))
        if plan.is_composed:
            return taken_apart(self, func, args, kwargs)
        if plan.compose is not None and self._recording:
            if plan.facts.name == "aten::_safe_softmax":
                self._flag(func, args, kwargs)
            with self:
                result = plan.compose(func, args, kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        inside = self._inside(plan.facts.name, args, result)
        if inside is not None:
            self._apply(inside, result)
        elif isinstance(result, torch.Tensor):
            self._observe(plan.facts, result, args, kwargs)
        else:
            for tensor in tensors(result):
                self._observe(plan.facts, tensor, args, kwargs)
        if plan.is_noted and self._recording:
            self._note(func, args, kwargs)
        return result

    def _observe(
        self,
        facts: Operator,
        tensor: torch.Tensor,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        if device_of(tensor).type != self._device_type:
            if facts.family == _LIFT:
                self._literal = weakref.ref(tensor)
            return
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:
            # Sparse layouts: their parts are tensors of their own.
            return
        key = storage_key(storage)
        num_bytes = self._bytes_of(storage, tensor, args)
        known = self._storages.get(key)
        if known is not None:
            _, allocation, had_bytes = known
            if self._are_same(num_bytes, had_bytes):
                return
            # An out= argument was resized: the old block is freed, a new one requested.
            self._freed(allocation)
            self._storages.pop(key)
        allocation = _NOT_RECORDED
        is_request = self._recording and num_bytes != 0
        if is_request and (known is not None or self._is_new(facts, storage, args, kwargs)):
            allocation = len(self._requests)
            self._requests.append((num_bytes, self._request_name(facts, args), self._lines.stack()))
            self._events.append(("alloc", allocation))
        self._storages[key] = (weakref.ref(storage, self._died(key)), allocation, num_bytes)

    def _bytes_of(self, storage: Any, _tensor: torch.Tensor, _args: tuple[Any, ...]) -> Any:
        """The bytes of a result's storage; an expression where sizes are symbols."""
        return storage.nbytes()

    def _are_same(self, num_bytes: Any, had_bytes: Any) -> bool:
        """Whether a known storage has the size it had."""
        return bool(num_bytes == had_bytes)

    def _inside(self, name: str, args: tuple[Any, ...], result: Any) -> Sequence[Step] | None:
        """What the device's kernel does in that call, where it is wanted and known."""
        wanted = self._recording and self._scratch == "cuda"
        return cuda_scratch.inside(name, args, result) if wanted else None

    def _apply(self, steps: Sequence[Step], result: Any) -> None:
        """Record what a kernel requests and frees, its results among it."""
        stack, held = self._lines.stack(), dict[str, int]()
        for step in steps:
            if isinstance(step, cuda_scratch.Give):
                self._events.append(("free", held.pop(step.name)))
                continue
            allocation = len(self._requests)
            self._requests.append((step.num_bytes, step.op, stack))
            self._events.append(("alloc", allocation))
            if isinstance(step.name, str):
                held[step.name] = allocation
                continue
            storage = result[step.name].untyped_storage()
            key = storage_key(storage)
            reference = weakref.ref(storage, self._died(key))
            self._storages[key] = (reference, allocation, storage.nbytes())

    def _is_new(
        self, facts: Operator, storage: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> bool:
        """Whether an unknown storage was made by this operator, and was not there before."""
        if facts.family == _LIFT:
            # A literal was made where no mode looks. What wraps NumPy's memory cannot be resized.
            return bool(storage.resizable())
        if facts.returns_alias:
            return False
        if facts.family == _SCALAR and self._device_type != "cpu" and self._lines.assigns_element():
            # x[mask] = 0.0: on a GPU torch keeps the value on the host, where no mode looks.
            # Source: PyTorch 2.13 python_variable_indexing.cpp, THPVariable_setitem.
            return False
        if not facts.may_return_argument:
            return True
        key = storage_key(storage)
        return all(
            storage_key(tensor.untyped_storage()) != key
            for tensor in tensors((args, kwargs))
            if tensor.layout is torch.strided
        )

    def _request_name(self, facts: Operator, args: tuple[Any, ...]) -> str:
        """The operator that asked; a literal's way through the host is torch's, not the code's."""
        if facts.family == _COPY and self._literal is not None and self._literal() is args[0]:
            return _LIFT
        return facts.name

    def _died(self, key: int) -> Callable[[weakref.ref[Any]], None]:
        storages = self._storages

        def died(reference: weakref.ref[Any]) -> None:
            entry = storages.get(key)
            if entry is not None and entry[0] is reference:
                del storages[key]
                self._freed(entry[1])

        return died

    def _freed(self, allocation: int) -> None:
        if self._recording and allocation != _NOT_RECORDED:
            self._events.append(("free", allocation))

    def _note(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        name = operator(func).family
        to_host = name == _COPY and str(kwargs.get("device", "")) == "cpu"
        reads = name in scratch.HOST_READS or name in scratch.SHAPE_READS
        if reads or (to_host and self._device_type != "cpu"):
            self._host_reads.update(dict.fromkeys(self._lines.stack()[:1]))
        self._flag(func, args, kwargs)

    def _flag(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        reason = scratch.unseen_reason(func, args, kwargs)
        if reason is None:
            return
        name, stack = operator(func).family, self._lines.stack()
        inputs = tensors((args, kwargs))
        input_bytes = sum(tensor.numel() * tensor.element_size() for tensor in inputs)
        before = self._unseen.get((name, stack))
        largest = max(input_bytes, before.input_bytes if before else 0)
        self._unseen[name, stack] = Unseen(name, stack, largest, reason)
