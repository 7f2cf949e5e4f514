"""What exchanges a parameter without a shape for one that has it."""

from __future__ import annotations

from typing import Any

import torch

from oom_suite.torch_compat.probes import Name, needed

NAMES = (
    Name("torch._C:DisableTorchFunctionSubclass", positional=0),
    Name("torch._C:_nn._parse_to"),
    Name("torch:Tensor._make_subclass"),
    Name("torch.utils:swap_tensors", positional=2),
)
"""The names of torch behind this module."""

with needed("the shadow and prove lanes need", NAMES):
    as_plain: Any = torch._C.DisableTorchFunctionSubclass
    parse_to: Any = torch._C._nn._parse_to
    make_subclass: Any = torch.Tensor._make_subclass
    swap: Any = torch.utils.swap_tensors
