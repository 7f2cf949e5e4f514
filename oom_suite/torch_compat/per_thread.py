"""What torch keeps on a mode for the thread that entered it, as if a mode had one thread."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any

from oom_suite.torch_compat.probes import Name, require

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = (
    Name("torch.utils._python_dispatch:TorchDispatchMode.old_dispatch_mode_flags"),
    Name("torch._subclasses.fake_tensor:FakeTensorMode.enter_stack"),
)
"""The names of torch behind this module."""

require("every lane needs", NAMES)


class PerThread:
    """An attribute that has a value of its own on each thread.

    torch keeps what `__exit__` puts back in a list on the mode. Two threads that have entered
    one mode would take each other's entries.

    Args:
        make: the value on a thread that has set none.

    Source: PyTorch 2.13 ``torch/utils/_python_dispatch.py``, ``TorchDispatchMode.__enter__``;
    ``torch/_subclasses/fake_tensor.py``, ``FakeTensorMode.__enter__`` and
    ``in_kernel_invocation_manager``; 2.11 is alike.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """Keep the values beside the mode's other attributes."""
        self._name = f"_{name}_of_threads"

    def __get__(self, mode: Any, owner: type) -> Any:
        if mode is None:
            return self
        values = self._values(mode)
        found = values.get(get_ident(), self)
        if found is self:
            found = values[get_ident()] = self._make()
        return found

    def __set__(self, mode: Any, value: object) -> None:
        self._values(mode)[get_ident()] = value

    def _values(self, mode: Any) -> dict[int, Any]:
        kept = vars(mode)
        if self._name not in kept:
            kept[self._name] = {}
        values: dict[int, Any] = kept[self._name]
        return values
