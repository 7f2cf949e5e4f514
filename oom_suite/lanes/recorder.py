"""Records what a call asks of the allocator, from the operators that pass through dispatch."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from oom_suite.lanes import scratch
from oom_suite.lanes.operands import DEVICE_QUERY, device_type, tensors
from oom_suite.lanes.source_lines import SourceLines
from oom_suite.records import Allocation, Event, Frame, Launch, Trace, Unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_NOT_RECORDED = -1


class Recorder(TorchDispatchMode):
    """A dispatch mode that turns new storages into allocations and dead ones into frees.

    A storage that an operator returns and that was not seen before is an allocation; the
    death of that storage, told by a weak reference, is its free. What the builder made, and
    what was there before, counts as input.

    Args:
        device_type: only storages on this type of device are recorded (``"cpu"``, ``"cuda"``).
        root: folder that source files are shown relative to.

    Does not prove: that a kernel allocates nothing inside. `oom_suite.lanes.scratch` lists the
    operators known to; their calls are in `Trace.unseen`.
    """

    def __init__(self, device_type: str, root: Path) -> None:
        """Start in the builder's phase: storages made before `record` are inputs."""
        super().__init__()
        self._device_type = device_type
        self._lines = SourceLines(root, _enter_code_under_test.__code__)
        self._recording = False
        self._storages: dict[int, tuple[weakref.ref[Any], int, int]] = {}
        self._allocations: list[Allocation] = []
        self._events: list[Event] = []
        self._unseen: dict[tuple[str, tuple[Frame, ...]], Unseen] = {}
        self._launches: list[Launch] = []
        self._host_reads: dict[Frame, None] = {}
        self._input_bytes = 0

    def record(self, call: Callable[[], object]) -> None:
        """Run the call once and record it. The result is dropped at the end."""
        # A collection in the middle would free cyclic garbage at a moment that differs from
        # run to run; reference counts alone are deterministic. What the builder left in
        # cycles is young, and not an input.
        gc.collect(0)
        self._input_bytes = sum(num_bytes for _, _, num_bytes in self._storages.values())
        was_enabled = gc.isenabled()
        gc.disable()
        self._recording = True
        try:
            _enter_code_under_test(call)
        finally:
            self._recording = False
            if was_enabled:
                gc.enable()

    def launched(self, kernel: str) -> None:
        """Note a kernel that a fake lane did not run."""
        if self._recording:
            self._launches.append(Launch(kernel, self._lines.stack()))

    def trace(
        self, lane: str, sizes: Mapping[str, int], process: Mapping[str, int] | None = None
    ) -> Trace:
        """What was recorded so far."""
        return Trace(
            lane=lane,
            sizes=dict(sizes),
            allocations=tuple(self._allocations),
            events=tuple(self._events),
            input_bytes=self._input_bytes,
            unseen=tuple(self._unseen.values()),
            launches=tuple(self._launches),
            host_reads=tuple(self._host_reads),
            process=process or {},
        )

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
        """Run the operator and note what it allocated."""
        kwargs = kwargs or {}
        if func is DEVICE_QUERY:
            return func(*args)
        composition = scratch.COMPOSED.get(func.name())
        if composition is not None:
            with self:
                return func._op_dk(composition, *args, **kwargs)  # noqa: SLF001 - no public way
        result = func(*args, **kwargs)
        for tensor in tensors(result):
            self._observe(func, tensor, args)
        if self._recording:
            self._note(func, args, kwargs)
        return result

    def _observe(
        self, func: torch._ops.OpOverload, tensor: torch.Tensor, args: tuple[Any, ...]
    ) -> None:
        if device_type(tensor) != self._device_type:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata  # noqa: SLF001 - the storage's only identity
        num_bytes = storage.nbytes()
        known = self._storages.get(key)
        if known is not None:
            _, allocation, had_bytes = known
            if num_bytes == had_bytes or not self._recording:
                return
            # An out= argument was resized: the old block is freed, a new one requested.
            self._freed(allocation)
            self._storages.pop(key)
        is_input = not self._recording or (known is None and self._is_argument(func, key, args))
        allocation = _NOT_RECORDED
        if not is_input and num_bytes > 0:
            allocation = len(self._allocations)
            self._allocations.append(Allocation(num_bytes, func.name(), self._lines.stack()))
            self._events.append(Event("alloc", allocation))
        self._watch(storage, key, allocation, num_bytes)

    def _watch(self, storage: Any, key: int, allocation: int, num_bytes: int) -> None:  # noqa: ANN401
        def died(reference: weakref.ref[Any]) -> None:
            entry = self._storages.get(key)
            if entry is not None and entry[0] is reference:
                del self._storages[key]
                self._freed(entry[1])

        self._storages[key] = (weakref.ref(storage, died), allocation, num_bytes)

    def _freed(self, allocation: int) -> None:
        if self._recording and allocation != _NOT_RECORDED:
            self._events.append(Event("free", allocation))

    def _is_argument(
        self, func: torch._ops.OpOverload, key: int, args: tuple[Any, ...]
    ) -> bool:
        """Whether an unknown storage was there before: an argument, or a view of one."""
        if any(returned.alias_info is not None for returned in func._schema.returns):  # noqa: SLF001
            return True
        return any(
            tensor.untyped_storage()._cdata == key  # noqa: SLF001
            for tensor in tensors(args)
        )

    def _note(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        name = func._schema.name  # noqa: SLF001
        to_host = name == "aten::_to_copy" and str(kwargs.get("device", "")) == "cpu"
        reads = name in scratch.HOST_READS or name in scratch.SHAPE_READS
        if reads or (to_host and self._device_type != "cpu"):
            self._host_reads.update(dict.fromkeys(self._lines.stack()[:1]))
        reason = scratch.unseen_reason(func, args)
        if reason is not None:
            stack = self._lines.stack()
            input_bytes = sum(t.numel() * t.element_size() for t in tensors(args))
            before = self._unseen.get((name, stack))
            largest = max(input_bytes, before.input_bytes if before else 0)
            self._unseen[name, stack] = Unseen(name, stack, largest, reason)


def _enter_code_under_test(call: Callable[[], object]) -> None:
    """The frame at which stacks end: everything further in is the code under test."""
    call()
