"""Records what a call asks of the allocator, from the operators that pass through dispatch."""

from __future__ import annotations

import contextlib
import gc
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators import operands, scratch
from oom_suite.operators.operands import DEVICE_QUERY, is_foreign, operator, tensors
from oom_suite.operators.registered import registered, registered_bytes
from oom_suite.records import Launch, Unseen
from oom_suite.torch_compat.autograd_nodes import learn_holders
from oom_suite.torch_compat.dispatch import DispatchMode, storage_key, taken_apart
from oom_suite.torch_compat.fakes import device_of, is_real
from oom_suite.tracing import attending
from oom_suite.tracing.book import CPU, NOT_RECORDED, Book, Books
from oom_suite.tracing.eager_forms import eager_form
from oom_suite.tracing.kernels_of import InsideKernels
from oom_suite.tracing.overlaps import Overlaps, in_order
from oom_suite.tracing.plan import COPY, IS_PINNED, plan_of
from oom_suite.tracing.source_lines import enter_code_under_test, no_collections
from oom_suite.tracing.unwritten import Unwritten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oom_suite.operators.kernels import Kernels
    from oom_suite.operators.operands import Operator
    from oom_suite.records import Frame, Measurement, Trace
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.source_lines import SourceLines
    from oom_suite.tracing.threads import Threads

_SCALAR = "aten::scalar_tensor"
_LIFT = "aten::lift_fresh"


class Recorder(DispatchMode):  # type: ignore[no-untyped-call]  # untyped by torch
    """A dispatch mode that turns new storages into allocations and dead ones into frees.

    A storage that an operator returns and that was not seen before is an allocation; the
    death of that storage, told by a weak reference, is its free. What the builder made, and
    what was there before, counts as input.

    Each memory has a book of its own: the device's, the host's, and the host's that is pinned.

    Args:
        device_type: the type of the device (``"cpu"``, ``"cuda"``).
        lines: reads the stack, from `oom_suite.tracing.source_lines.lines_under_test`.
        kernels: whose kernels take what they take inside, to the byte or at most, for a
            prediction; None to leave it out.

    Does not prove: that a kernel allocates nothing inside. What may, and is not predicted here,
    is named in `Trace.unseen` (`oom_suite.operators.scratch`). Nor who allocates in a backward pass
    that autograd runs on a thread of its own: there is no line of Python on that stack.

    Attributes:
        threads: the threads that record here; None for the calling one alone.
        overlaps: what one of them may still have taken while another goes on.
    """

    def __init__(
        self, device_type: str, lines: SourceLines, kernels: Kernels | None = None
    ) -> None:
        """Start in the builder's phase: storages made before `record` are inputs."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        learn_holders()
        self._device_type = device_type
        self._lines = lines
        self._recording = False
        self.books = Books(device_type)
        self._insides = InsideKernels(self.books.device, device_type, kernels, lines.stack)
        self._unseen: dict[tuple[str, tuple[Frame, ...]], Unseen] = {}
        self._launches: list[Launch] = []
        self._host_reads: dict[Frame, None] = {}
        self._literal: tuple[weakref.ref[Any], int] | None = None
        self._unwritten: Unwritten | None = None
        self.threads: Threads | None = None
        self.overlaps = Overlaps(*self.books.records)

    def record(self, call: Callable[[], object]) -> None:
        """Run the call once and record it. The result is dropped at the end."""
        with no_collections():
            self.books.begin()
            self._unwritten = Unwritten(call)
            self._switch(is_open=True)
            try:
                if self.threads is None:
                    enter_code_under_test(call)
                else:
                    self.threads.call(call)
                if self.books.have_live:
                    # No collection ran since the call began: its own cycles are all young.
                    gc.collect(0)
            finally:
                self._switch(is_open=False)

    def mark(self) -> None:
        """Note that a step of the call ends here, and with it what its threads are at."""
        if self.threads is not None:
            self.threads.finish()
        self.books.mark()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """In the middle of a call, make inputs: they are no requests."""
        self._switch(is_open=False)
        try:
            yield
        finally:
            self._switch(is_open=True)

    def _switch(self, *, is_open: bool) -> None:
        self._recording = is_open
        self.books.switch(is_open=is_open)

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
        trace = self.books.trace(lane, sizes)
        if self.threads is not None and self.threads.are_several:
            trace = replace(trace, events=in_order(trace.events, trace.marks))
        return replace(
            trace,
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
        kwargs = kwargs or {}
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
        kwargs: Mapping[str, Any],
    ) -> Any:
        if types and is_foreign(types):
            # A subclass runs operators of its own; those come back here one by one.
            return NotImplemented
        func = eager_form(func, args, self._are_same)
        plan = plan_of(func)
        self.books.num_operators += self._recording
        if self._unwritten and plan.facts.is_mutable:
            self._unwritten.wrote(operands.written_tensors(plan.facts, args, kwargs))
        if plan.facts.name in attending.REPLACED and attending.is_taken(plan.facts.name):
            with self:
                return attending.REPLACED[plan.facts.name](*args, **kwargs)
        if plan.is_composed and operands.is_composed_of(func, args):
            return taken_apart(self, func, args, kwargs)
        if plan.body is not None:
            with self:
                return plan.body(*args, **kwargs)
        compose = self._insides.composition(plan, args, kwargs)
        if compose is not None and self._recording:
            if plan.facts.family in scratch.SEEN_AS_MORE:
                self._flag(func, args, kwargs)
            with self:
                result = compose(func, args, kwargs)
            if result is not NotImplemented:
                return result
        if plan.is_pinning and self.books.pinned is not None:
            return self._pinned_host(self.books.pinned, plan.facts, args)
        result = func(*args, **kwargs)
        is_predicted = self._recording and self._predicted(plan.facts, args, kwargs, result)
        for tensor in () if is_predicted else tensors(result):
            self._observe(plan.facts, tensor, args, kwargs)
        if self._recording and self._device_type != CPU and registered(plan.facts.family):
            taken = registered_bytes(plan.facts.family, args, kwargs)
            self._insides.write_registered(plan.facts, self._expressed(taken))
        if plan.is_noted and self._recording:
            self._note(func, args, kwargs, result, is_predicted=is_predicted)
        return result

    def _pinned_host(self, book: Book, facts: Operator, args: tuple[Any, ...]) -> Any:
        """Whether host memory is pinned, or a copy of it that is.

        Fake tensors cannot be pinned: the copy is an ordinary one, in the book of pinned memory.
        Source: PyTorch 2.13 ``aten/src/ATen/native/Memory.cpp``, ``_pin_memory``: strides are kept.
        """
        if facts.family == IS_PINNED:
            return self.books.holds_pinned(args[0])
        copy = torch.ops.aten.clone.default(args[0])
        self._observe_in(book, facts, copy, args, {})
        return copy

    def _observe(
        self,
        facts: Operator,
        tensor: torch.Tensor,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        book = self.books.of(tensor, is_pinned=bool(kwargs.get("pin_memory")))
        if book is not None:
            if facts.family == _LIFT and book is not self.books.device:
                # Not to the tensor: one with a weak reference cannot be converted in place.
                self._literal = (weakref.ref(tensor.untyped_storage()), id(tensor))
            self._observe_in(book, facts, tensor, args, kwargs)

    def _observe_in(
        self,
        book: Book,
        facts: Operator,
        tensor: torch.Tensor,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Write down what a result of an operator says of one memory."""
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:
            # Sparse layouts: their parts are tensors of their own.
            return
        num_bytes = self._bytes_of(storage, tensor, args)
        key = storage_key(storage)
        known = book.find(key)
        if known is not None:
            if self._are_same(num_bytes, known[1]):
                return
            # An out= argument was resized: the old block is freed, a new one requested.
            book.forget(key)
        number = NOT_RECORDED
        is_request = self._recording and num_bytes != 0
        if is_request and (known is not None or self._is_new(facts, storage, args, kwargs)):
            number = book.request(num_bytes, self._request_name(facts, args), self._lines.stack())
        book.keep(storage, number, num_bytes)

    def _bytes_of(self, storage: Any, _tensor: torch.Tensor, _args: tuple[Any, ...]) -> Any:
        """The bytes of a result's storage; an expression where sizes are symbols."""
        return storage.nbytes()

    def _are_same(self, num_bytes: Any, had_bytes: Any) -> bool:
        """Whether a known storage has the size it had."""
        return bool(num_bytes == had_bytes)

    def _predicted(
        self, facts: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> bool:
        """Whether it is known what the kernel requests and frees, which is then written down."""
        own = attending.own_steps(facts.name, args, kwargs, result)
        if own is not None:
            self._insides.write_exact(own, result, self._expressed)
            return True
        steps = self._insides.steps(facts, args, kwargs, result)
        if steps is None:
            return False
        results = list(tensors(result))
        for tensor in self._insides.known_among(results):
            # An out= argument is resized before anything else is done.
            self._observe(facts, tensor, args, kwargs)
        self._insides.write(facts.family, steps, results)
        return True

    def _expressed(self, num_bytes: Any) -> Any:
        """A number of bytes as the record keeps it; an expression where sizes are symbols."""
        return int(num_bytes)

    def _is_new(
        self, facts: Operator, storage: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> bool:
        """Whether an unknown storage was made by this operator, and was not there before."""
        if facts.family == _LIFT:
            # A literal was made where no mode looks. What wraps NumPy's memory cannot be resized.
            made = args[0].untyped_storage() if is_real(args[0]) else storage
            return bool(made.resizable())
        if facts.returns_alias:
            return False
        if facts.family == _SCALAR and self._device_type != CPU and self._lines.assigns_element():
            # x[mask] = 0.0: on a GPU torch keeps the value on the host, where no mode looks.
            # Source: PyTorch 2.13 python_variable_indexing.cpp, THPVariable_setitem.
            return False
        if not facts.may_return_argument:
            return True
        return not operands.is_of_argument(storage, args, kwargs)

    def _request_name(self, facts: Operator, args: tuple[Any, ...]) -> str:
        """The operator that asked; a literal's way through the host is torch's, not the code's."""
        if facts.family == COPY and self._literal is not None:
            storage, identity = self._literal
            if identity == id(args[0]) and storage() is args[0].untyped_storage():
                return _LIFT
        return facts.name

    def _note(
        self,
        func: OpOverload,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
        *,
        is_predicted: bool,
    ) -> None:
        name = operator(func).family
        to_host = name == COPY and str(kwargs.get("device", "")) == CPU
        reads = name in scratch.HOST_READS or name in scratch.SHAPE_READS
        if reads or (to_host and self._device_type != CPU):
            self._host_reads.update(dict.fromkeys(self._lines.stack()[:1]))
        by_zeros = self._insides.are_wanted and scratch.has_gradient_by_zeros(name, args)
        if not is_predicted or by_zeros or self._insides.is_partial(name, args, result):
            self._flag(func, args, kwargs)

    def _flag(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        name, is_prediction = operator(func).family, self._insides.are_wanted
        reason = scratch.unseen_reason(func, args, kwargs, is_prediction=is_prediction)
        if reason is None or attending.explains(name):
            return
        stack = self._lines.stack()
        input_bytes = sum(each.numel() * each.element_size() for each in tensors((args, kwargs)))
        before = self._unseen.get((name, stack))
        largest = max(input_bytes, before.input_bytes if before else 0)
        is_bounded = scratch.is_seen_as_more(name, args)
        self._unseen[name, stack] = Unseen(name, stack, largest, reason, is_bounded)
