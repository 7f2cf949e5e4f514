"""Steps that grow by one byte for so many blocks: how small a growth a detector still sees.

``one_byte_for_8_blocks`` and its like exist for every number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.sparse_mla.builtins import token_gather_decode

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"one_byte_for_([1-9]\d*)_blocks")


def __getattr__(name: str) -> Callable[..., None]:
    """The step of that name.

    Raises:
        AttributeError: no such name.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    num_blocks = int(found[1])

    def growing(**step: Any) -> None:
        pool = step["swa_k_cache"]
        state = torch.zeros(pool.shape[0] // num_blocks, dtype=torch.uint8, device=pool.device)
        token_gather_decode(**step)
        del state

    return growing
