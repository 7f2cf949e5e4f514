"""The dispatch mode that the suite's own modes are made of."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """A dispatch mode that leaves torch's compiler alone.

    Source: PyTorch 2.13 ``torch/utils/_python_dispatch.py``, ``__init_subclass__``.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler (a second of start-up) to wrap each call."""
        return False
