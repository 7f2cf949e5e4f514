"""Steps that grow with a capacity beyond what their workload allows, and others up to it.

A step here takes the keywords of a block map of flex attention, of attention on a CPU, or of the
workspace of DeepSeek-V4's prefills.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW

_inverse = functools.partial(mutant, workload="flex-inverse-map", along=("num_blocks",))
_unique = functools.partial(mutant, workload="flex-unique-blocks", along=("num_blocks",))
_cpu = functools.partial(mutant, workload="cpu-attention", along=("context_len",))
_workspace = functools.partial(mutant, workload="prefill-workspace", along=("context_len",))
_reservation = functools.partial(mutant, workload="prefill-reservation", along=("max_model_len",))


def _mapped(step: dict[str, Any], used: torch.Tensor) -> torch.Tensor:
    """For each request and block where it stands, of the entries that are used."""
    table = step["block_table"].long()
    shape = (table.shape[0], step["total_blocks"])
    found = torch.full(shape, -1, dtype=torch.int64, device=table.device)
    place = torch.arange(table.shape[1], device=table.device).expand_as(table).where(used, -1)
    return found.scatter_reduce_(1, table.where(used, 0), place, reduce="amax")


def _used(step: dict[str, Any]) -> torch.Tensor:
    table, lens = step["block_table"], step["seq_lens"]
    place = torch.arange(table.shape[1], device=table.device)
    return torch.lt(place * step["block_size"], lens.unsqueeze(1))


@_inverse(LAW, "_mapped")
def map_and_a_mask(**step: Any) -> tuple[torch.Tensor, ...]:
    """Nine bytes for each request and block of the pool, where eight are allowed."""
    found = _mapped(step, _used(step))
    return found, torch.zeros(found.shape, dtype=torch.bool, device=found.device)


@twin(LAW, workload="flex-inverse-map", along=("num_blocks",))
def map_in_int64(**step: Any) -> torch.Tensor:
    """Eight bytes for each request and block of the pool."""
    return _mapped(step, _used(step))


@_inverse("precision", "wrong-answer")
def blocks_behind_contexts_mapped(**step: Any) -> torch.Tensor:
    """Maps what stands in a table behind the request's context, too."""
    return _mapped(step, torch.ones_like(step["block_table"], dtype=torch.bool))


def _packed(x: torch.Tensor, num_blocks: int, *, last: bool = False) -> torch.Tensor:
    """Blocks of each group, each where it comes first or last; -1 behind them."""
    width = x.shape[1]
    place = torch.arange(width, device=x.device).expand_as(x)
    table = torch.full(
        (x.shape[0], num_blocks + 1), -1 if last else width, dtype=torch.int64, device=x.device
    )
    table.scatter_reduce_(1, x, place, reduce="amax" if last else "amin")
    is_kept = (x != 0).logical_and_(place == table.gather(1, x))
    del table
    to = (is_kept.cumsum(1) - 1).where(is_kept, width)
    found = torch.full((x.shape[0], width + 1), -1, dtype=x.dtype, device=x.device)
    return found.scatter_(1, to, x)[:, :width]


@_unique(LAW, "_packed")
def table_and_a_mask(x: torch.Tensor, M: int) -> torch.Tensor:
    """Nine bytes for each group and block of the pool, where eight are allowed."""
    marks = torch.zeros((x.shape[0], M), dtype=torch.bool, device=x.device)
    found = _packed(x, M)
    del marks
    return found


@twin(LAW, workload="flex-unique-blocks", along=("num_blocks",))
def table_in_int64(x: torch.Tensor, M: int) -> torch.Tensor:
    """Eight bytes for each group and block of the pool."""
    return _packed(x, M)


@_unique("precision", "wrong-answer")
def blocks_kept_where_they_come_last(x: torch.Tensor, M: int) -> torch.Tensor:
    """Keeps a block that comes twice in its second place."""
    return _packed(x, M, last=True)


def _places(step: dict[str, Any], num_places: int, num_bytes: int) -> torch.Tensor:
    """So many bytes for each token and place."""
    shape = (step["q"].shape[0], num_places, num_bytes)
    return torch.empty(shape, dtype=torch.uint8, device=step["q"].device)


@_cpu(LAW, "_places")
def places_of_the_longest(**step: Any) -> None:
    """A slot for every key of the longest context that the server allows, for each token."""
    slots = _places(step, step["max_model_len"] // step["compress_ratio"], 8)
    step["output"].zero_()
    del slots


@_cpu(LAW, "_places")
def two_masks_of_the_context(**step: Any) -> None:
    """Two bytes for each token and place of its context, where one is allowed."""
    masks = _places(step, step["block_table"].shape[1] * 256, 2)
    step["output"].zero_()
    del masks


@twin(LAW, workload="cpu-attention", along=("context_len",))
def mask_of_the_context(**step: Any) -> None:
    """A byte for each token and place of its context."""
    mask = _places(step, step["block_table"].shape[1] * 256, 1)
    step["output"].zero_()
    del mask


def _rows(step: dict[str, Any], num_bytes: int) -> torch.Tensor:
    return torch.empty(num_bytes, dtype=torch.uint8, device=step["q"].device)


@_workspace(LAW, "_rows")
def workspace_of_the_server(**step: Any) -> None:
    """Rows for four requests of the longest context, whatever the step has."""
    rows = _rows(step, 4 * step["max_model_len"] // step["compress_ratio"] * 1024)
    step["output"].zero_()
    del rows


@_workspace(LAW, "_rows")
def context_four_times(**step: Any) -> None:
    """The context's rows four times: one copy more than there is room for, with all else."""
    rows = _rows(step, 4 * step["block_table"].numel() * 256 // 4 * 1024)
    step["output"].zero_()
    del rows


@twin(LAW, workload="prefill-workspace", along=("context_len",))
def context_three_times(**step: Any) -> None:
    """The context's rows three times, and nothing else of what a step may have."""
    rows = _rows(step, 3 * step["block_table"].numel() * 256 // 4 * 1024)
    step["output"].zero_()
    del rows


@_reservation(LAW, "_rows")
def nine_requests_reserved(**step: Any) -> None:
    """Rows for nine requests of the longest context, where those of eight are allowed."""
    rows = _rows(step, 9 * step["max_model_len"] // step["compress_ratio"] * 1024)
    step["output"].zero_()
    del rows


@twin(LAW, workload="prefill-reservation", along=("max_model_len",))
def eight_requests_reserved(**step: Any) -> None:
    """Rows for eight requests of the longest context."""
    rows = _rows(step, 8 * step["max_model_len"] // step["compress_ratio"] * 1024)
    step["output"].zero_()
    del rows
