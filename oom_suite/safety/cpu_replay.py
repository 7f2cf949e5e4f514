"""A graph's replay without a GPU: the operators of one run, run again without their Python.

A captured graph holds device work alone. What Python decided, and every value that the host
read, is fixed in it. Here the operators that one run dispatched on the CPU are kept with the same
argument objects; a replay calls them again, and writes each result where the first one is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from oom_suite.errors import LaneError
from oom_suite.operators.operands import DEVICE_QUERY, operator, tensors
from oom_suite.safety.replay_cases import cases, copied, judged, result, write
from oom_suite.torch_compat.dispatch import DispatchMode, is_composed, storage_key, taken_apart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from oom_suite.records.safety import Hit
    from oom_suite.safety.steps import Target
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.workloads.variants import Replay

_WARM_UPS = 3
_UNINITIALISED = frozenset(
    {"aten::empty", "aten::empty_strided", "aten::empty_like", "aten::new_empty"}
)


_Call: TypeAlias = "tuple[OpOverload, tuple[Any, ...], Mapping[str, Any], Any, list[torch.Size]]"


class Tape(DispatchMode):
    """A dispatch mode that keeps what it sees, and can run it again."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._calls: list[_Call] = []

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator and keep the call."""
        kwargs = kwargs or {}
        if is_composed(func):
            return taken_apart(self, func, args, kwargs)
        result = func(*args, **kwargs)
        if func is not DEVICE_QUERY:
            # Later code may reshape a result in place, as a product with a vector does.
            shapes = [one.shape for one in tensors(result)]
            self._calls.append((func, args, kwargs, result, shapes))
        return result

    def replay(self) -> None:
        """Run everything again, into the same storages.

        Raises:
            LaneError: a result has another shape than it had.
        """
        for func, args, kwargs, first, shapes in self._calls:
            facts = operator(func)
            if facts.family in _UNINITIALISED or (facts.returns_alias and not facts.is_mutable):
                # Views follow what they look at.
                continue
            again = func(*args, **kwargs)
            if facts.is_mutable:
                continue
            for old, new, shape in zip(tensors(first), tensors(again), shapes, strict=True):
                if new.shape != shape:
                    raise LaneError(f"{facts.family} has a result whose size follows the values")
                if storage_key(old.untyped_storage()) != storage_key(new.untyped_storage()):
                    old.copy_(new.reshape(old.shape))


def cpu_replays(target: Target, replay: Replay) -> tuple[Hit, ...]:
    """The hits of replays after each change of contents, on the CPU.

    Raises:
        LaneError: the step's sizes follow the values, or two runs on the CPU differ.
    """
    original = replay.first()
    wanted = cases(target, original, replay.other())
    buffers = {name: copied(value) for name, value in original.items()}
    for _ in range(_WARM_UPS):
        target.call(**buffers)
    tape = Tape()
    with tape:
        returned = target.call(**buffers)
    hits = []
    for case in wanted:
        write(target, buffers, case, original)
        tape.replay()
        hits.append(judged(case, result(target, buffers, returned)))
    return tuple(hit for hit in hits if hit is not None)
