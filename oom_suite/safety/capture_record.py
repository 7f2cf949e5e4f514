"""Whether a step can be captured in a graph, judged without a GPU by what it asks of dispatch."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

import torch

from oom_suite.operators.operands import (
    DEVICE_QUERY,
    is_composed_of,
    is_foreign,
    operator,
    tensors,
)
from oom_suite.records.safety import Hit
from oom_suite.safety import capture_table as table
from oom_suite.torch_compat.dispatch import DispatchMode, storage_key, taken_apart
from oom_suite.torch_compat.fakes import device_of
from oom_suite.torch_compat.printing import prints_noted
from oom_suite.tracing import believed_objects
from oom_suite.tracing.threads import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oom_suite.safety.capture_table import Refused
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.source_lines import SourceLines

SYNCHRONIZE = "synchronize"
_ELSEWHERE = (
    "runs on another thread: a graph holds what the capturing thread launches, so a replay leaves "
    "it out, and a capture is refused where it asks for memory (cuda/CUDAGraph.cpp)"
)
_COPIES = frozenset({"aten::_to_copy", "aten::copy_"})
_PINS = frozenset({"aten::_pin_memory", "aten::pin_memory"})
_WAITS = (
    (torch.cuda, "synchronize"),
    (torch.accelerator, "synchronize"),
    # Torch's own, and those that code sees in their place while it believes in its target.
    *(
        (owner, name)
        for stream, event in (
            (torch.cuda.Stream, torch.cuda.Event),
            (believed_objects.Stream, believed_objects.Event),
        )
        for owner, name in (
            (stream, "synchronize"),
            (stream, "query"),
            (event, "synchronize"),
            (event, "query"),
            (event, "elapsed_time"),
        )
    ),
)
"""Calls that a capturing stream refuses; under the record they return True and do nothing."""


class CaptureWatch(DispatchMode):
    """A dispatch mode, entered above a lane's own, that notes what a capture would refuse.

    Args:
        device_type: the type of the device that stands for the GPU.
        lines: reads the stack.
    """

    def __init__(self, device_type: str, lines: SourceLines) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._device_type = device_type
        self._lines = lines
        self._hits: dict[tuple[str, Any], Hit] = {}
        self._assigned: weakref.ref[Any] | None = None
        self._pinned: dict[int, weakref.ref[Any]] = {}
        self._is_watching = False

    def __enter__(self) -> Self:
        self._is_watching = True
        if (threads := running()) is not None:
            threads.others = _OtherThread(self)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return self

    def __exit__(self, *error: object) -> None:
        self._is_watching = False
        if (threads := running()) is not None:
            threads.others = contextlib.nullcontext()
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch does not annotate it

    @property
    def hits(self) -> tuple[Hit, ...]:
        """What was noted, one for each kind and line, in the order in which they first came."""
        return tuple(self._hits.values())

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Note the call where it is refused, then run it: it may raise."""
        if func is DEVICE_QUERY:
            return func(*args)
        if types and is_foreign(types):
            return NotImplemented
        kwargs = kwargs or {}
        if is_composed_of(func, args):
            return taken_apart(self, func, args, kwargs)
        name = operator(func).name
        reason = table.refused(func, args, kwargs, self._device_type)
        if reason is None:
            reason = self._refused_here(func, args, kwargs)
        if reason is not None:
            self.note(reason.kind, f"{name} {reason.why} ({reason.source})")
        result = func(*args, **kwargs)
        if name == "aten::scalar_tensor" and self._lines.assigns_element():
            # torch makes the number of tensor[...] = number on the host where the tensor is CUDA.
            self._assigned = weakref.ref(result)
        if kwargs.get("pin_memory") or operator(func).family in _PINS:
            for tensor in tensors(result):
                storage = tensor.untyped_storage()
                self._pinned[storage_key(storage)] = weakref.ref(storage)
        return result

    def note(self, kind: str, text: str) -> None:
        """One more hit at the line that runs now."""
        stack = self._lines.stack()
        frame = stack[0] if stack else None
        self._hits.setdefault((kind, frame), Hit(kind, text, frame))

    def ran_elsewhere(self, name: str, given: object) -> None:
        """Note an operator of another thread that works on the device."""
        if any(device_of(tensor).type == self._device_type for tensor in tensors(given)):
            self.note(table.OTHER_THREAD, f"{name} {_ELSEWHERE}")

    def waited(self, what: str) -> bool:
        """Note a call that waits for the device; True, which is what a finished query says."""
        if self._is_watching:
            self.note(SYNCHRONIZE, f"{what} waits for the device, which a capture refuses")
        return True

    def shown(self, tensor: torch.Tensor) -> None:
        """Note that a tensor was printed, which reads its values."""
        if self._is_watching and device_of(tensor).type == self._device_type:
            self.note(table.SYNC, "printing a tensor reads its values on the host")

    def _refused_here(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Refused | None:
        family = operator(func).family
        if family in _COPIES:
            return self._refused_copy(family, args, kwargs)
        if family in table.PUTS and device_of(args[0]).type == self._device_type:
            return self._refused_put(args, kwargs)
        return None

    def _refused_copy(
        self, family: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Refused | None:
        if family == "aten::_to_copy":
            source = device_of(args[0]).type
            target = str(kwargs.get("device") or source).partition(":")[0]
            waits, host = not kwargs.get("non_blocking", False), args[0]
            # torch makes the host's side of a copy that does not wait pinned by itself.
            pinned = target == "cpu" or self._is_pinned(host)
        else:
            if self._is_assigned(args[1]) and args[0].dim() == 0:
                return table.ELEMENT_COPY
            target, source = device_of(args[0]).type, device_of(args[1]).type
            waits = not kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
            pinned = self._is_pinned(args[0] if target == "cpu" else args[1])
        if {source, target} != {"cpu", self._device_type}:
            return None
        return table.HOST_COPY if waits or not pinned else None

    def _is_pinned(self, tensor: torch.Tensor) -> bool:
        known = self._pinned.get(storage_key(tensor.untyped_storage()))
        return known is not None and known() is not None

    def _is_assigned(self, tensor: torch.Tensor) -> bool:
        """Whether it is the number of a ``tensor[...] = number``, which CUDA has on the host."""
        return self._assigned is not None and self._assigned() is tensor

    def _refused_put(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Refused | None:
        masks = [
            one for one in args[1] if one is not None and one.dtype in {torch.bool, torch.uint8}
        ]
        others = [
            one for one in args[1] if one is not None and one.dtype not in {torch.bool, torch.uint8}
        ]
        accumulate = kwargs.get("accumulate", args[3] if len(args) > 3 else False)
        value = args[2]
        on_host = device_of(value).type == "cpu" or self._is_assigned(value)
        if on_host and len(masks) == 1 and not others and not accumulate:
            return None
        if masks:
            return table.MASK_PUT
        return table.VALUE_PUT if on_host else None


class _OtherThread(DispatchMode):
    """Entered on other threads while `watch` is entered on its own."""

    def __init__(self, watch: CaptureWatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._watch = watch

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator, and note where it was."""
        if func is not DEVICE_QUERY and types and is_foreign(types):
            return NotImplemented
        result = func(*args, **(kwargs or {}))
        if func is not DEVICE_QUERY and not operator(func).returns_alias:
            self._watch.ran_elsewhere(operator(func).name, (args, kwargs, result))
        return result


@contextlib.contextmanager
def waits_noted(watch: CaptureWatch) -> Iterator[None]:
    """While active, calls that wait for the device do nothing, and `watch` notes them.

    It notes printed tensors too. Nothing is noted while `watch` is not entered.
    """

    def instead(what: str) -> Callable[..., bool]:
        return lambda *_, **__: watch.waited(what)

    with contextlib.ExitStack() as patches:
        for owner, name in _WAITS:
            if hasattr(owner, name):
                what = f"{owner.__name__}.{name}"
                patches.enter_context(mock.patch.object(owner, name, instead(what)))
        patches.enter_context(prints_noted(watch.shown))
        yield
