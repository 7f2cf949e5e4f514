"""Records what a call asks of the allocator, from the operators that pass through dispatch."""

from __future__ import annotations

import functools
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators import scratch
from oom_suite.operators.compositions import COMPOSITIONS
from oom_suite.operators.inside import inside
from oom_suite.operators.kernels import Call
from oom_suite.operators.operands import DEVICE_QUERY, is_foreign, operator, tensors
from oom_suite.operators.registered import registered, registered_bytes
from oom_suite.operators.steps import Give
from oom_suite.records import Allocation, Event, Frame, Launch, Trace, Unseen
from oom_suite.torch_compat.dispatch import (
    DispatchMode,
    is_composed,
    storage_key,
    taken_apart,
    visible_body,
)
from oom_suite.torch_compat.fakes import device_of
from oom_suite.tracing.source_lines import enter_code_under_test, no_collections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.operators.compositions import Composition
    from oom_suite.operators.kernels import Kernels
    from oom_suite.operators.operands import Operator
    from oom_suite.operators.steps import Step
    from oom_suite.records import Measurement
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.source_lines import SourceLines

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
    body: Callable[..., Any] | None


@functools.cache
def _plan(func: OpOverload) -> _Plan:
    facts = operator(func)
    reads = facts.family in scratch.HOST_READS or facts.family in scratch.SHAPE_READS
    is_noted = reads or facts.family == _COPY or scratch.may_be_unseen(func)
    body = visible_body(func)
    return _Plan(facts, COMPOSITIONS.get(facts.name), is_composed(func), is_noted, body)


class Recorder(DispatchMode):
    """A dispatch mode that turns new storages into allocations and dead ones into frees.

    A storage that an operator returns and that was not seen before is an allocation; the
    death of that storage, told by a weak reference, is its free. What the builder made, and
    what was there before, counts as input.

    Args:
        device_type: only storages on this type of device are recorded (``"cpu"``, ``"cuda"``).
        lines: reads the stack, from `oom_suite.tracing.source_lines.lines_under_test`.
        kernels: whose kernels take what they take inside, to the byte or at most, for a
            prediction; None to leave it out.

    Does not prove: that a kernel allocates nothing inside. What may, and is not predicted here,
    is named in `Trace.unseen` (`oom_suite.operators.scratch`). Nor who allocates in a backward pass
    that autograd runs on a thread of its own: there is no line of Python on that stack.
    """

    def __init__(
        self, device_type: str, lines: SourceLines, kernels: Kernels | None = None
    ) -> None:
        """Start in the builder's phase: storages made before `record` are inputs."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._device_type = device_type
        self._lines = lines
        self._kernels = kernels
        self._recording = False
        self._storages: dict[int, tuple[weakref.ref[Any], int, int]] = {}
        # Plain tuples: making records costs more than all else that a request takes.
        self._requests: list[tuple[int, str, tuple[Frame, ...], bool]] = []
        self._events: list[tuple[str, int]] = []
        self._unseen: dict[tuple[str, tuple[Frame, ...]], Unseen] = {}
        self._launches: list[Launch] = []
        self._host_reads: dict[Frame, None] = {}
        self._input_bytes = 0
        self._literal: weakref.ref[Any] | None = None

    def record(self, call: Callable[[], object]) -> None:
        """Run the call once and record it. The result is dropped at the end."""
        with no_collections():
            self._input_bytes = sum(num_bytes for _, _, num_bytes in self._storages.values())
            self._recording = True
            try:
                enter_code_under_test(call)
            finally:
                self._recording = False

    def launched(self, kernel: str) -> None:
        """Note a kernel that a fake lane did not run."""
        if self._recording:
            self._launches.append(Launch(kernel, self._lines.stack()))

    def trace(
        self, lane: str, sizes: Mapping[str, int], measurement: Measurement | None = None
    ) -> Trace:
        """What was recorded so far."""
        return Trace(
            lane=lane,
            sizes=dict(sizes),
            allocations=tuple(Allocation(*request) for request in self._requests),
            events=tuple(Event(*event) for event in self._events),
            input_bytes=self._input_bytes,
            unseen=tuple(self._unseen.values()),
            launches=tuple(self._launches),
            host_reads=tuple(self._host_reads),
            measurement=measurement,
        )

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator and note what it allocated."""
        if func is DEVICE_QUERY:
            return device_of(args[0])
        if types and is_foreign(types):
            # A subclass runs operators of its own; those come back here one by one.
            return NotImplemented
        kwargs = kwargs or {}
        plan = _plan(func)
        if plan.is_composed:
            return taken_apart(self, func, args, kwargs)
        if plan.body is not None:
            with self:
                return plan.body(*args, **kwargs)
        if plan.compose is not None and self._recording:
            if plan.facts.name == "aten::_safe_softmax":
                self._flag(func, args, kwargs)
            with self:
                result = plan.compose(func, args, kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        steps = self._inside(plan.facts, args, kwargs, result)
        if steps is not None:
            self._apply(plan.facts, steps, result, args, kwargs)
        elif isinstance(result, torch.Tensor):
            self._observe(plan.facts, result, args, kwargs)
        else:
            for tensor in tensors(result):
                self._observe(plan.facts, tensor, args, kwargs)
        if self._recording and self._device_type != "cpu" and registered(plan.facts.family):
            self._take_registered(plan.facts.family, args, kwargs)
        if plan.is_noted and self._recording:
            self._note(func, args, kwargs, is_predicted=steps is not None)
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
            name = self._request_name(facts, args)
            self._requests.append((num_bytes, name, self._lines.stack(), False))
            self._events.append(("alloc", allocation))
        self._storages[key] = (weakref.ref(storage, self._died(key)), allocation, num_bytes)

    def _bytes_of(self, storage: Any, _tensor: torch.Tensor, _args: tuple[Any, ...]) -> Any:
        """The bytes of a result's storage; an expression where sizes are symbols."""
        return storage.nbytes()

    def _are_same(self, num_bytes: Any, had_bytes: Any) -> bool:
        """Whether a known storage has the size it had."""
        return bool(num_bytes == had_bytes)

    def _inside(
        self, facts: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> Sequence[Step] | None:
        """What the device's kernel does in that call, where it is wanted and known."""
        if self._kernels is None or not self._recording:
            return None
        first = next(tensors((args, kwargs)), None)
        if first is None or device_of(first).type != self._device_type:
            return None
        return inside(Call(facts.family, args, kwargs, result, self._kernels))

    def _apply(
        self,
        facts: Operator,
        steps: Sequence[Step],
        result: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Record what a kernel requests and frees, its results among it."""
        stack, held = self._lines.stack(), dict[str, int]()
        results = list(tensors(result))
        for tensor in results:
            if storage_key(tensor.untyped_storage()) in self._storages:
                # An out= argument: it is resized before anything else is done.
                self._observe(facts, tensor, args, kwargs)
        for step in steps:
            if isinstance(step, Give):
                self._events.append(("free", held.pop(step.name)))
                continue
            if not step.num_bytes:
                continue
            allocation = len(self._requests)
            self._requests.append((step.num_bytes, step.op, stack, step.is_bound))
            self._events.append(("alloc", allocation))
            if isinstance(step.name, str):
                held[step.name] = allocation
                continue
            self._keep(results[step.name], allocation)
        for tensor in results:
            if storage_key(tensor.untyped_storage()) not in self._storages:
                self._keep(tensor, _NOT_RECORDED)

    def _keep(self, tensor: torch.Tensor, allocation: int) -> None:
        """Remember a result's storage, so that its end is seen."""
        storage = tensor.untyped_storage()
        key = storage_key(storage)
        reference = weakref.ref(storage, self._died(key))
        self._storages[key] = (reference, allocation, storage.nbytes())

    def _take_registered(
        self, family: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Record what the author of an operator says that it takes beside its results."""
        num_bytes = self._expressed(registered_bytes(family, args, kwargs))
        if num_bytes == 0:
            return
        allocation = len(self._requests)
        self._requests.append((num_bytes, f"{family} (registered)", self._lines.stack(), True))
        self._events += (("alloc", allocation), ("free", allocation))

    def _expressed(self, num_bytes: Any) -> Any:
        """A number of bytes as the record keeps it; an expression where sizes are symbols."""
        return int(num_bytes)

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

    def _note(
        self,
        func: OpOverload,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        is_predicted: bool,
    ) -> None:
        name = operator(func).family
        to_host = name == _COPY and str(kwargs.get("device", "")) == "cpu"
        reads = name in scratch.HOST_READS or name in scratch.SHAPE_READS
        if reads or (to_host and self._device_type != "cpu"):
            self._host_reads.update(dict.fromkeys(self._lines.stack()[:1]))
        if not is_predicted:
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
        is_bounded = name in scratch.SEEN_AS_MORE
        self._unseen[name, stack] = Unseen(name, stack, largest, reason, is_bounded)
