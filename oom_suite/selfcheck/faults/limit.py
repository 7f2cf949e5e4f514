"""Steps that grow by one byte for so many blocks: how small a growth a detector still catches.

There is one for every number of blocks: ``one_byte_for_8_blocks`` and so on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.records.selfcheck import LIMIT_GROUP
from oom_suite.selfcheck.faults.gather import decode_holding
from oom_suite.selfcheck.faults.record import LAW, Mutant

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"one_byte_for_([1-9]\d*)_blocks")


def growth_of(num_blocks: int) -> Mutant:
    """What is known of the step that grows by one byte for so many blocks."""
    return Mutant(
        spelling=f"{__name__}:one_byte_for_{num_blocks}_blocks",
        group=LIMIT_GROUP,
        about=f"one byte per {num_blocks:,} blocks",
        workload="decode-swa",
        along=(),
        detector=LAW,
        expected=("growing",),
    )


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
        num_bytes = pool.shape[0] // num_blocks
        decode_holding(step, torch.zeros(num_bytes, dtype=torch.uint8, device=pool.device))

    return growing
