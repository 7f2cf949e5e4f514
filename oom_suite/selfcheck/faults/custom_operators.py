"""Custom operators whose authors say what their kernels take: with the table, and without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.registered import register_scratch
from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW, Promised

if TYPE_CHECKING:
    from collections.abc import Callable

_HIDDEN = 64
_TABLE = Promised({"num_rows": 4096, "num_tokens": 8}, independent_of=("num_rows",))


@torch.library.custom_op("oom_suite_selfcheck::widened_lookup", mutates_args=())
def widened_lookup(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The rows named, of a table that is widened as a whole inside."""
    return table.to(torch.float32)[rows]


@torch.library.custom_op("oom_suite_selfcheck::lookup", mutates_args=())
def lookup(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The rows named, widened one by one."""
    return table[rows].to(torch.float32)


def _rows_named(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return table.new_empty(rows.shape[0], table.shape[1], dtype=torch.float32)


widened_lookup.register_fake(_rows_named)
lookup.register_fake(_rows_named)
register_scratch(widened_lookup, lambda table, _rows: table.numel() * 4)
register_scratch(lookup, lambda table, rows: rows.shape[0] * table.shape[1] * 2)


@mutant(LAW, "look_up", promised=_TABLE)
def operator_that_widens_the_table(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A custom operator whose kernel takes a copy of the whole table."""
    table, rows = _inputs(sizes, device)

    def look_up() -> Any:
        return widened_lookup(table, rows)

    return look_up


@twin(LAW, promised=_TABLE)
def operator_that_widens_the_rows(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A custom operator whose kernel takes a copy of the rows that are named."""
    table, rows = _inputs(sizes, device)

    def look_up() -> Any:
        return lookup(table, rows)

    return look_up


def _inputs(sizes: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    table = torch.empty(sizes.num_rows, _HIDDEN, dtype=torch.bfloat16, device=device)
    return table, torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)
