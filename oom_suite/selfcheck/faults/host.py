"""Copies on the host that follow the pool, and healthy ones that follow what was referenced."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW, Promised

if TYPE_CHECKING:
    from collections.abc import Callable

# A copy to the host that waits for the device is refused by a capture.
_healthy = functools.partial(twin, LAW, breaks=("capture",))
_HIDDEN = 64
_OF_THE_POOL = Promised({"num_blocks": 512, "num_tokens": 4}, independent_of=("num_blocks",))
_OF_THE_TOKENS = Promised({"num_tokens": 64}, at_most=f"{4 * _HIDDEN}*num_tokens")


def _pool_and_rows(sizes: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """A pool bfloat16 [num_blocks, 64] and a row of it for each token, int64 [num_tokens]."""
    cache = torch.zeros(sizes.num_blocks, _HIDDEN, dtype=torch.bfloat16, device=device)
    return cache, torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)


@mutant(LAW, "offload", promised=_OF_THE_POOL)
def pool_copied_to_the_host(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Rows that are offloaded by copying the whole pool to the host first."""
    cache, rows = _pool_and_rows(sizes, device)

    def offload() -> torch.Tensor:
        return cache.cpu()[rows.cpu()]

    return offload


@mutant(LAW, "stage", promised=_OF_THE_POOL)
def pool_staged_in_pinned_memory(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A swap whose pinned buffer has room for the whole pool."""
    cache, rows = _pool_and_rows(sizes, device)

    def stage() -> torch.Tensor:
        buffer = torch.empty(cache.shape, dtype=cache.dtype, pin_memory=True)
        return buffer[: rows.shape[0]].copy_(cache[rows])

    return stage


@mutant(LAW, "count", promised=_OF_THE_POOL)
def byte_per_block_on_the_host(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Reference counts that are made anew on the host, a byte for each block."""
    cache, _ = _pool_and_rows(sizes, device)

    def count() -> torch.Tensor:
        return torch.zeros(cache.shape[0], dtype=torch.uint8)

    return count


@mutant(LAW, "log", promised=_OF_THE_TOKENS)
def byte_per_token_over_the_bound(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Hidden states that are logged on the host with a byte for each token besides."""
    hidden = torch.zeros(sizes.num_tokens, _HIDDEN, device=device)

    def log() -> object:
        return hidden.cpu(), torch.zeros(hidden.shape[0], dtype=torch.uint8)

    return log


@_healthy(promised=_OF_THE_POOL)
def rows_copied_to_the_host(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Rows that are gathered on the device and offloaded then."""
    cache, rows = _pool_and_rows(sizes, device)
    return lambda: cache[rows].cpu()


@_healthy(promised=_OF_THE_POOL)
def rows_staged_in_pinned_memory(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A swap whose pinned buffer has room for the rows that are swapped."""
    cache, rows = _pool_and_rows(sizes, device)

    def stage() -> torch.Tensor:
        buffer = torch.empty(rows.shape[0], _HIDDEN, dtype=cache.dtype, pin_memory=True)
        return buffer.copy_(cache[rows])

    return stage


@_healthy(promised=_OF_THE_TOKENS)
def table_made_on_the_host(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A table of 64 KiB made on the host, the same at all sizes, and a log within the bound."""
    hidden = torch.zeros(sizes.num_tokens, _HIDDEN, device=device)

    def log() -> object:
        table = torch.arange(8192, dtype=torch.int64)
        return hidden.cpu(), table

    return log
