"""What authors say of their own operators: the bytes that a kernel takes inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import UsageError
from oom_suite.torch_compat.dispatch import family_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Scratch = Callable[..., Any]

_SCRATCH: dict[str, Scratch] = {}


def register_scratch(op: Any, fn: Any) -> None:
    """Say what an operator of your own takes inside its kernel, beside its results.

    Without this an operator from outside torch is opaque: it is named as unseen, and whatever is
    promised of code that calls it is `INCONCLUSIVE`.

    Args:
        op: the operator: ``torch.ops.mine.attend``, one of its overloads, its name
            ``"mine::attend"``, or what `torch.library.custom_op` gave.
        fn: called with the operator's arguments; gives the most bytes that are alive inside the
            kernel at once, its results left out: exactly or at most, and 0 where it takes
            nothing. Sizes may be symbols, so it should compute with them (``x.numel() * 4``) and
            not ask which is larger.

    Raises:
        UsageError: `op` is none, or `fn` cannot be called.
    """
    if not callable(fn):
        msg = f"register_scratch needs a function that gives bytes, not {fn!r}"
        raise UsageError(msg)
    family = op.partition(".")[0] if isinstance(op, str) and "::" in op else family_of(op)
    if not family:
        msg = f"register_scratch needs an operator, such as torch.ops.mine.attend, not {op!r}"
        raise UsageError(msg)
    _SCRATCH[family] = fn


def registered(family: str) -> bool:
    """Whether the author of an operator, named without its overload, said what it takes."""
    return family in _SCRATCH


def registered_bytes(family: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What the author says that this call takes inside; an expression where sizes are symbols.

    Raises:
        UsageError: no number of bytes.
    """
    num_bytes = _SCRATCH[family](*args, **kwargs)
    if isinstance(num_bytes, bool) or not isinstance(num_bytes, (int, torch.SymInt)):
        msg = f"register_scratch: the function for {family} gave {num_bytes!r}, not whole bytes"
        raise UsageError(msg)
    if isinstance(num_bytes, int) and num_bytes < 0:
        msg = f"register_scratch: the function for {family} gave {num_bytes:,} bytes"
        raise UsageError(msg)
    return num_bytes
