"""Where autograd's engine is in a backward pass, and who holds the tensors that it adds up."""

from __future__ import annotations

from typing import Any

import torch

from oom_suite.torch_compat.probes import Name, needed

NAMES = (
    Name("torch._C:_current_autograd_node", positional=0),
    Name("torch._C:_current_graph_task_id", positional=0),
    Name("torch._C:_storage_Use_Count", positional=1),
    Name("torch:Tensor._use_count"),
    Name("torch.autograd.graph:Node._sequence_nr"),
    Name("torch:UntypedStorage._cdata"),
)
"""The names of torch behind this module."""

with needed("every lane needs", NAMES):
    _current_node = torch._C._current_autograd_node
    _current_pass = torch._C._current_graph_task_id
    _storage_uses = torch._C._storage_Use_Count

_NO_PASS = -1


def node_number() -> tuple[int, int] | None:
    """The backward pass and its node that is being evaluated on this thread; None outside."""
    number = _current_pass()
    node: Any = None if number == _NO_PASS else _current_node()
    return None if node is None else (number, node._sequence_nr())


def num_holders(tensor: torch.Tensor) -> tuple[int, int]:
    """How many in C++ hold a tensor, its Python object for one, and its storage."""
    held: Any = tensor
    return held._use_count(), _storage_uses(tensor.untyped_storage()._cdata)
