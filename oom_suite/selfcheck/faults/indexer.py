"""Steps of the lightning indexer with one planted fault each, and unusual ones that are right.

A step here takes the keywords of the workload `indexer-logits`, and gives the logits.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW
from oom_suite.workloads.indexer.oracle import TOKEN_BYTES, halves_of
from oom_suite.workloads.indexer.step import HEAD_DIM

if TYPE_CHECKING:
    from collections.abc import Callable

_decode = functools.partial(mutant, workload="indexer-logits", along=("max_model_len",))
_decode_twin = functools.partial(twin, workload="indexer-logits", along=("max_model_len",))

_KEPT: list[torch.Tensor] = []


class _Keys(NamedTuple):
    """Keys of a request's blocks: values uint8 [n, 128] and scales float32 [n]."""

    values: torch.Tensor
    scales: torch.Tensor


def _halves(blocks: torch.Tensor) -> _Keys:
    """Of blocks uint8 [n, block_size, 1, 132]."""
    values, scales = halves_of(blocks.flatten(1), blocks.shape[1])
    return _Keys(values.flatten(0, 1), scales.flatten())


def _gathered(pool: torch.Tensor, blocks: torch.Tensor) -> _Keys:
    return _halves(pool[blocks])


def _limit(context_len: torch.Tensor, next_n: int, token: int) -> torch.Tensor:
    return context_len - next_n + token + 1


def _scored(q: torch.Tensor, keys: _Keys, weights: torch.Tensor) -> torch.Tensor:
    """Of queries fp8 [heads, 128] and weights [heads]: [n]."""
    heads = q.float() @ keys.values.view(q.dtype).float().T
    return (weights @ heads.relu_()).mul_(keys.scales)


def paged(
    step: dict[str, Any],
    gathered: Callable[[torch.Tensor, torch.Tensor], _Keys] = _gathered,
    limit: Callable[[torch.Tensor, int, int], torch.Tensor] = _limit,
    scored: Callable[[torch.Tensor, _Keys, torch.Tensor], torch.Tensor] = _scored,
) -> torch.Tensor:
    """The logits of a decode step, of these pieces; each is the healthy one unless given."""
    q, pool, weights = step["q"], step["kv_cache"], step["weights"]
    batch, next_n = q.shape[:2]
    tables = step["block_tables"][:, : step["max_model_len"] // pool.shape[1]].long()
    place = torch.arange(tables.shape[1] * pool.shape[1], device=q.device)
    shape = (batch * next_n, step["max_model_len"])
    logits = torch.full(shape, -torch.inf, device=q.device)
    for request in range(batch):
        named = tables[request]
        is_there = (named >= 0) & (named < pool.shape[0])
        keys = gathered(pool, named.where(is_there, 0))
        hidden = ~is_there.repeat_interleave(pool.shape[1])
        for token in range(next_n):
            row = request * next_n + token
            seen = limit(step["context_lens"][request], next_n, token)
            scores = scored(q[request, token], keys, weights[row])
            logits[row, : len(place)] = scores.masked_fill_(hidden | (place >= seen), -torch.inf)
    return logits


@_decode(LAW, along=())
def indexer_pool_widened(**step: Any) -> torch.Tensor:
    """Widens the values of the whole cache, as vLLM does for two tokens of a request."""
    pool = step["kv_cache"]
    whole = pool[..., :HEAD_DIM].view(torch.float8_e4m3fn).float()
    logits = paged(step)
    del whole
    return logits


@_decode(LAW, along=())
def bit_per_indexer_block(**step: Any) -> torch.Tensor:
    """A bitmap with one bit for each block of the indexer's cache."""
    pool = step["kv_cache"]
    bitmap = torch.zeros((pool.shape[0] + 7) // 8, dtype=torch.uint8, device=pool.device)
    logits = paged(step)
    del bitmap
    return logits


@_decode(LAW)
def logits_of_every_head(**step: Any) -> torch.Tensor:
    """A score of every head as wide as the longest context, to be summed up later."""
    batch, next_n, num_heads = step["q"].shape[:3]
    shape = (num_heads, batch * next_n, step["max_model_len"])
    scores = torch.empty(shape, device=step["q"].device)
    logits = paged(step)
    del scores
    return logits


@_decode(LAW)
def three_copies_of_logits(**step: Any) -> tuple[torch.Tensor, ...]:
    """The logits three times, where they may be there twice."""
    logits = paged(step)
    return logits, torch.empty_like(logits), torch.empty_like(logits)


@_decode_twin(LAW)
def two_copies_of_logits(**step: Any) -> tuple[torch.Tensor, ...]:
    """The logits twice: as much as the longest context may take."""
    logits = paged(step)
    return logits, torch.empty_like(logits).copy_(logits)


def _beside(step: dict[str, Any], others: torch.Tensor) -> torch.Tensor:
    """The logits and, with a weight of zero, what no token sees."""
    ignored = others.view(step["q"].dtype).float().sum() * 0.0
    return paged(step).add_(ignored)


def _last_blocks(step: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each request's last key is: which entry of its row, and which key of that block."""
    last = (step["context_lens"] - 1).clamp_min(0).long()
    block_size = step["kv_cache"].shape[1]
    return last // block_size, last % block_size


@_decode("reads", "reads-unreferenced-block")
def block_behind_the_context(**step: Any) -> torch.Tensor:
    """Reads the block behind those of the context."""
    entry, _ = _last_blocks(step)
    tables = step["block_tables"]
    behind = (entry + 1).clamp_max(tables.shape[1] - 1).unsqueeze(1)
    blocks = tables.long().gather(1, behind).clamp(0, step["kv_cache"].shape[0] - 1)
    return _beside(step, _halves(step["kv_cache"][blocks.flatten()]).values)


@_decode("reads", "reads-unreferenced-key")
def keys_behind_the_context(**step: Any) -> torch.Tensor:
    """Reads the key behind the context's last one."""
    entry, key = _last_blocks(step)
    blocks = step["block_tables"].long().gather(1, entry.unsqueeze(1)).squeeze(1)
    pool = step["kv_cache"]
    next_key = (key + 1).clamp_max(pool.shape[1] - 1)
    values, _ = halves_of(pool[blocks.clamp(0, pool.shape[0] - 1)].flatten(1), pool.shape[1])
    return _beside(step, values[torch.arange(len(key), device=key.device), next_key])


@_decode("reads", "reads-uninitialised-memory")
def logits_left_unwritten(**step: Any) -> torch.Tensor:
    """Leaves what stands behind a context as it was when its memory was taken."""
    logits = paged(step)
    return torch.where(logits == -torch.inf, torch.empty_like(logits), logits)


@_decode_twin("reads")
def block_behind_the_context_masked(**step: Any) -> torch.Tensor:
    """Reads the block behind those of the context, and masks its keys after they were scored."""
    spare = torch.full_like(step["block_tables"][:, :1], step["kv_cache"].shape[0] - 1)
    wider = torch.cat([step["block_tables"], spare], dim=1)
    length = step["max_model_len"]
    longer = {"block_tables": wider, "max_model_len": length + step["kv_cache"].shape[1]}
    logits: torch.Tensor = paged({**step, **longer})[:, :length].contiguous()
    return logits


@_decode("writes", "writes-cache")
def scale_behind_the_context_cleared(**step: Any) -> torch.Tensor:
    """Writes into the cache: the last scale of each request's last block becomes zero."""
    entry, _ = _last_blocks(step)
    blocks = step["block_tables"].long().gather(1, entry.unsqueeze(1)).squeeze(1)
    logits = paged(step)
    # In the layout of the cache these are the last bytes of a block.
    step["kv_cache"][blocks.clamp_min(0), -1, 0, -1] = 0
    return logits


@_decode("writes", "writes-input")
def lens_counted_in_place(**step: Any) -> torch.Tensor:
    """Writes into the lens: from the number of keys to the last one's place."""
    logits = paged(step)
    step["context_lens"].sub_(1)
    return logits


@_decode("indices", "wrong-answer")
def whole_blocks_scored(**step: Any) -> torch.Tensor:
    """Gives a logit to every key of a context's last block."""
    block_size = int(step["kv_cache"].shape[1])

    def rounded(context_len: torch.Tensor, next_n: int, token: int) -> torch.Tensor:
        seen = _limit(context_len, next_n, token)
        blocks: torch.Tensor = (seen + block_size - 1) // block_size
        return blocks * block_size

    return paged(step, limit=rounded)


@_decode("indices", "wrong-answer")
def block_tables_taken_as_contiguous(**step: Any) -> torch.Tensor:
    """Reads rows of the block table one behind the other, whatever their stride."""
    tables = step["block_tables"]
    dense = tables.as_strided(tables.shape, (tables.shape[1], 1))
    return paged({**step, "block_tables": dense})


@_decode("addresses", "wrong-address")
def indexer_pages_in_int32(**step: Any) -> torch.Tensor:
    """Multiplies block and page in int32: wrong from 2 GiB on."""

    def flat(pool: torch.Tensor, blocks: torch.Tensor) -> _Keys:
        storage = torch.empty(0, dtype=torch.uint8, device=pool.device).set_(pool.untyped_storage())
        start = (blocks * pool.stride(0)).to(torch.int32).long().add(int(pool.storage_offset()))
        within = torch.arange(pool.shape[1] * TOKEN_BYTES, device=pool.device)
        # Other bytes of the storage are as wrong as others beside it, and end no process.
        found = storage[(start.unsqueeze(1) + within).clamp_(0, len(storage) - 1)]
        return _halves(found.view(len(blocks), *pool.shape[1:]))

    return paged(step, gathered=flat)


@_decode("capture", "host-sync", "capture-refused")
def longest_context_on_the_host(**step: Any) -> torch.Tensor:
    """Asks on the host how long the longest context is."""
    longest = int(step["context_lens"].max().item())
    blocks = -(-longest // step["kv_cache"].shape[1])
    return paged({**step, "block_tables": step["block_tables"][:, :blocks]})


@_decode("creep", "leaked-reference", is_stateful=True)
def lens_kept(**step: Any) -> torch.Tensor:
    """Keeps a copy of the lens of every call."""
    _KEPT.append(step["context_lens"].clone())
    return paged(step)


@_decode("precision", "wrong-answer")
def scale_of_keys_forgotten(**step: Any) -> torch.Tensor:
    """Scores the values of keys without their scale."""

    def plain(pool: torch.Tensor, blocks: torch.Tensor) -> _Keys:
        keys = _gathered(pool, blocks)
        return keys._replace(scales=torch.ones_like(keys.scales))

    return paged(step, gathered=plain)


@_decode("precision", "wrong-answer")
def scale_behind_each_key(**step: Any) -> torch.Tensor:
    """Takes each key's scale to stand behind its values, not behind those of the whole block."""

    def in_turn(pool: torch.Tensor, blocks: torch.Tensor) -> _Keys:
        rows = pool[blocks].flatten(0, 2)
        values, scales = rows[:, :HEAD_DIM].contiguous(), rows[:, HEAD_DIM:].contiguous()
        return _Keys(values, scales.view(torch.float32).flatten())

    return paged(step, gathered=in_turn)


@_decode("precision", "wrong-answer")
def every_token_sees_the_last(**step: Any) -> torch.Tensor:
    """Lets the first of two tokens see the key of the second."""
    return paged(step, limit=lambda context_len, *_: context_len)


@_decode("precision", "wrong-answer")
def negative_scores_kept(**step: Any) -> torch.Tensor:
    """Sums up scores of heads before what is negative becomes zero."""

    def late(q: torch.Tensor, keys: _Keys, weights: torch.Tensor) -> torch.Tensor:
        heads = q.float() @ keys.values.view(q.dtype).float().T
        return (weights @ heads).relu_().mul_(keys.scales)

    return paged(step, scored=late)


@_decode("precision", "wrong-answer")
def weights_of_the_first_request(**step: Any) -> torch.Tensor:
    """Gives every row the weights of the first one."""
    weights = step["weights"]
    return paged({**step, "weights": weights[:1].expand_as(weights)})


@_decode_twin("precision")
def weights_inside_the_heads(**step: Any) -> torch.Tensor:
    """Multiplies keys by their scales before they are scored, and heads by their weights."""

    def inside(q: torch.Tensor, keys: _Keys, weights: torch.Tensor) -> torch.Tensor:
        scaled = keys.values.view(q.dtype).float() * keys.scales.unsqueeze(1)
        return torch.mul((q.float() @ scaled.T).relu_(), weights[:, None]).sum(dim=0)

    return paged(step, scored=inside)
