"""Sparse attention of a chunk with one planted fault each, and unusual steps that are right.

A step here takes the keywords of the workload `sparse-prefill`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention

if TYPE_CHECKING:
    from collections.abc import Callable

_prefill = functools.partial(mutant, workload="sparse-prefill", along=())
_prefill_twin = functools.partial(twin, workload="sparse-prefill", along=())

_TILE = 256
_KEPT: list[torch.Tensor] = []


def _taken(kv: torch.Tensor, named: torch.Tensor) -> torch.Tensor:
    """Keys float32 [num_tokens, n, 512] of numbers int64 [num_tokens, n]."""
    return kv[named, 0].float()


def _counted(place: torch.Tensor, named: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
    """Which of the numbers at these places of a row count: bool [num_tokens, n]."""
    return (place < lens.unsqueeze(1)).logical_and_(named >= 0)


def attend(
    step: dict[str, Any],
    taken: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = _taken,
    counted: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] = _counted,
    attention: type[RunningAttention] = RunningAttention,
    tile: int = _TILE,
) -> None:
    """A chunk's attention in tiles of a row, of these pieces; the healthy ones by default."""
    running = attention(step["q"], step["scale"])
    kv, indices = step["kv"], step["indices"].flatten(1).long()
    for first in range(0, indices.shape[1], tile):
        named = indices[:, first : first + tile]
        place = torch.arange(first, first + named.shape[1], device=named.device)
        counts = counted(place, named, step["topk_length"]) & (named < kv.shape[0])
        # What does not count is the first key: it is read, and its value then taken out.
        running.add(taken(kv, named.where(counts, 0)), counts)
    running.finish(step["attn_sink"], step["output"])


@_prefill(LAW)
def gathered_keys_widened(**step: Any) -> None:
    """Widens all keys that were gathered, whichever are named."""
    whole = step["kv"].float()
    attend(step)
    del whole


@_prefill(LAW)
def key_for_every_place(**step: Any) -> None:
    """Takes a key for every index that a row has room for, as vLLM 0.21.0 did."""
    indices = step["indices"].flatten()
    every = step["kv"].index_select(0, indices.clamp_min(0)).float()
    attend(step, tile=1 << 20, taken=lambda *_: every.view(step["q"].shape[0], -1, 512))


@_prefill(LAW)
def pairs_of_indices(**step: Any) -> None:
    """Compares each index of a row with every other, for duplicates."""
    indices = step["indices"].flatten(1)
    pairs = indices.unsqueeze(1) - indices.unsqueeze(2)
    del pairs
    attend(step)


# Its law needs many tiles: it is sought in the long half.
@twin("indices", workload="sparse-prefill", along=("width",))
def four_copies_of_indices(**step: Any) -> None:
    """Copies the rows of indices as often as is allowed, and drops them before it attends."""
    indices = step["indices"]
    copies = indices.repeat(4, 1, 1)
    del copies
    attend(step, tile=2 * _TILE)


class _Unmasked(RunningAttention):
    """Keys that do not count keep their values, with a weight of zero."""

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        ignored = keys.masked_fill(counts.unsqueeze(-1), 0.0)
        super().add(keys, counts)
        self._weighted.add_(ignored.sum(dim=1, keepdim=True).mul_(0.0))


@_prefill("reads", "reads-unreferenced-block")
def keys_behind_lens(**step: Any) -> None:
    """Attends to the keys behind a row's length, with a weight of zero."""
    indices = step["indices"].flatten(1).long().clamp(0, step["kv"].shape[0] - 1)

    def all_of_row(kv: torch.Tensor, named: torch.Tensor) -> torch.Tensor:
        del named
        return kv[indices, 0].float()

    attend(step, taken=all_of_row, attention=_Unmasked, tile=1 << 20)


@_prefill("reads", "reads-unreferenced-block")
def first_key_for_what_does_not_count(**step: Any) -> None:
    """Attends to the first key where an index does not count, with a weight of zero."""
    attend(step, attention=_Unmasked)


@_prefill_twin("reads")
def keys_behind_lens_masked(**step: Any) -> None:
    """Reads the keys behind a row's length, and takes their values out before they are used."""
    indices = step["indices"].flatten(1).long().clamp(0, step["kv"].shape[0] - 1)

    def of_tile(kv: torch.Tensor, named: torch.Tensor) -> torch.Tensor:
        return kv[named.where(named > 0, indices[:, : named.shape[1]]), 0].float()

    attend(step, taken=of_tile)


@_prefill("writes", "leaves-output-unwritten")
def last_token_unwritten(**step: Any) -> None:
    """Leaves the last token unwritten, as a grid rounded down does."""
    output = step["output"]
    own = torch.empty_like(output)
    attend({**step, "output": own})
    output[:-1].copy_(own[:-1])


@_prefill("writes", "writes-input")
def padding_made_zero_in_place(**step: Any) -> None:
    """Writes into the indices: what does not count becomes 0."""
    attend(step)
    indices = step["indices"].flatten(1)
    place = torch.arange(indices.shape[1], device=indices.device)
    indices.masked_fill_(place >= step["topk_length"].unsqueeze(1), 0)


@_prefill("indices", "wrong-answer")
def padding_taken_for_the_first_key(**step: Any) -> None:
    """Attends to the first key wherever an index is padding."""
    attend({**step, "indices": step["indices"].clamp_min(0)})


@_prefill("indices", "wrong-answer")
def last_key_excluded(**step: Any) -> None:
    """Takes the last key to be one past the end."""
    last = step["kv"].shape[0] - 1
    attend({**step, "indices": step["indices"].masked_fill(step["indices"] >= last, -1)})


@_prefill("addresses", "wrong-address")
def keys_in_int32(**step: Any) -> None:
    """Multiplies number and stride in int32: wrong from 2 GiB on."""

    def flat(kv: torch.Tensor, named: torch.Tensor) -> torch.Tensor:
        num_held = kv.untyped_storage().nbytes() // kv.element_size()
        storage = kv.as_strided((num_held,), (1,), 0)
        start_bytes = (named * (kv.stride(0) * 2)).to(torch.int32).long()
        start = torch.add(start_bytes // 2, int(kv.storage_offset()))
        within = torch.arange(kv.shape[2], device=kv.device)
        return storage[(start[..., None] + within).clamp_(0, num_held - 1)].float()

    attend(step, taken=flat)


@_prefill("capture", "host-sync", "capture-refused")
def longest_row_on_the_host(**step: Any) -> None:
    """Asks on the host how long the longest row is."""
    longest = int(step["topk_length"].max().item())
    attend({**step, "indices": step["indices"][..., : max(1, longest)]})


@_prefill("creep", "leaked-reference", is_stateful=True)
def rows_kept(**step: Any) -> None:
    """Keeps a copy of the lens of every call."""
    _KEPT.append(step["topk_length"].clone())
    attend(step)


@_prefill("precision", "wrong-answer")
def sink_of_prefill_missing(**step: Any) -> None:
    """Leaves the sink out of the softmax of a chunk."""
    attend({**step, "attn_sink": None})


@_prefill("precision", "wrong-answer")
def lens_of_prefill_ignored(**step: Any) -> None:
    """Attends to every index of a row that is no padding, whatever its length."""
    attend(step, counted=lambda _, named, __: named >= 0)


@_prefill_twin("precision")
def tiles_of_five(**step: Any) -> None:
    """Attends to five keys at a time where rows are short, the last tile being narrower."""
    attend(step, tile=5 if step["indices"].shape[-1] < _TILE else _TILE)
