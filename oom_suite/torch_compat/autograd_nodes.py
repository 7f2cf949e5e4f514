"""Which step of a backward pass runs, and whether it alone holds a tensor."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import DispatchMode, OpOverload, schema_of, storage_key
from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

NAMES = (
    Name("torch._C:_current_autograd_node", positional=0),
    Name("torch._C:_storage_Use_Count", positional=1),
    Name("torch:Tensor._use_count"),
    Name("torch.autograd.graph:_engine_run_backward"),
)
"""The names of torch behind this module."""

with needed("every lane needs", NAMES):
    from torch._C import _current_autograd_node, _storage_Use_Count
    from torch.autograd.graph import _engine_run_backward

_ENGINE = _engine_run_backward.__code__
_DISPATCH = "__torch_dispatch__"


def current_node() -> str:
    """The name of the step of a backward pass that runs on this thread; empty outside of one."""
    node = _current_autograd_node()
    return "" if node is None else str(node.name())


def is_asked_by_engine() -> bool:
    """Whether autograd's engine itself called the operator that a mode was given, and no Python."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != _DISPATCH:
        frame = frame.f_back
    caller = None if frame is None else frame.f_back
    # Below a thread of the engine's own there is no Python.
    return frame is not None and (caller is None or caller.f_code is _ENGINE)


def is_held_once(args: Sequence[Any], num_places: int = 1) -> bool:
    """Whether nothing but the code that calls an operator holds its first argument's tensor.

    To be asked where a dispatch mode is given the arguments, before anything else holds one of
    them. What Python and dispatch hold on the way is counted on a tensor that is held by one.

    Args:
        args: as the mode was given them.
        num_places: places in the calling code that may hold it: an expression that goes on with
            what an operator in place gave holds that twice.
    """
    count, of_storage, in_python = learn_holders()
    once = count + num_places - 1, of_storage, in_python
    return all(have <= most for have, most in zip(_holders(args), once, strict=True))


def _holders(args: Sequence[Any]) -> tuple[int, int, int]:
    """Holders of the first argument in C++, of its storage, and of the argument in Python."""
    storage = args[0].untyped_storage()
    of_storage: int = _storage_Use_Count(storage_key(storage))
    return args[0]._use_count(), of_storage, sys.getrefcount(args[0])


class _Counting(DispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Counts the holders of a difference that one place in torch's own code holds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._found = (0, 0, 0)

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator; count where it adds to the difference."""
        if schema_of(func).name == "aten::add":
            self._found = _holders(args)
        return func(*args, **(kwargs or {}))


@functools.cache
def learn_holders() -> tuple[int, int, int]:
    """Holders of a tensor that one place in torch's own code holds, when a mode is given it.

    To be asked before a mode is active. No backward pass runs here: in its first one autograd
    learns how many devices there are. A distance adds a little to a difference of its own.

    Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/native/Distance.cpp``, ``pairwise_distance``.
    """
    counting = _Counting()
    # In inference mode the distance would come whole.
    with torch.inference_mode(mode=False), counting:
        vector = torch.ones(1, 2, device="cpu")
        torch.pairwise_distance(vector, vector)
    return counting._found
