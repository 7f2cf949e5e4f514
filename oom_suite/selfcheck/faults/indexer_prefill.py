"""The indexer's logits of a prefill's chunk with one planted fault each, and a step that is right.

A step here takes the keywords of the workload `indexer-prefill`, and gives the logits.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW
from oom_suite.workloads.indexer.step import HEAD_DIM

_chunk = functools.partial(mutant, workload="indexer-prefill", along=("num_tokens",))


def chunk(step: dict[str, Any], end: int = 0) -> torch.Tensor:
    """The logits of a prefill's chunk, eight heads at a time.

    Args:
        step: the keywords of `indexer-prefill`.
        end: keys that a token sees beyond its own; 0 is right.
    """
    keys, scales = step["kv"]
    values, place = keys.float(), torch.arange(keys.shape[0], device=keys.device)
    logits = torch.zeros(step["q"].shape[0], keys.shape[0], device=keys.device)
    for first in range(0, step["q"].shape[1], 8):
        heads = slice(first, first + 8)
        scores = (step["q"][:, heads].float() @ values.T).relu_()
        logits += scores.mul_(step["weights"][:, heads].unsqueeze(2)).sum(dim=1)
    logits *= scales.flatten()
    logits.masked_fill_(place < step["cu_seqlen_ks"].unsqueeze(1), -torch.inf)
    return logits.masked_fill_(place >= step["cu_seqlen_ke"].unsqueeze(1) + end, -torch.inf)


@_chunk(LAW)
def score_of_every_head(**step: Any) -> torch.Tensor:
    """A score of every head for each token and key, as vLLM's prefill in torch keeps them."""
    num_tokens, num_heads = step["q"].shape[:2]
    shape = (num_heads, num_tokens, step["kv"][0].shape[0])
    scores = torch.empty(shape, device=step["q"].device)
    del scores
    return chunk(step)


@twin(LAW, workload="indexer-prefill", along=("num_tokens",))
def eight_heads_at_a_time(**step: Any) -> torch.Tensor:
    """Adds up the scores of eight heads after those of the eight before."""
    return chunk(step)


@_chunk("reads", "reads-red-zone-after")
def key_behind_the_last(**step: Any) -> torch.Tensor:
    """Reads a key more than there are, as a tile rounded up does."""
    keys = step["kv"][0]
    behind = keys.storage_offset() + keys.numel()
    held = keys.untyped_storage().nbytes() // keys.element_size()
    start = min(behind, held - HEAD_DIM)
    ignored = keys.as_strided((HEAD_DIM,), (1,), start).float().sum() * 0.0
    return chunk(step).add_(ignored)


@_chunk("writes", "writes-input")
def ends_moved_in_place(**step: Any) -> torch.Tensor:
    """Writes into the ends: from one behind the last key to the last one."""
    logits = chunk(step)
    step["cu_seqlen_ke"].sub_(1)
    return logits


@_chunk("precision", "wrong-answer")
def end_included(**step: Any) -> torch.Tensor:
    """Scores the key at the end, which is one behind the last."""
    return chunk(step, end=1)


@_chunk("precision", "wrong-answer")
def start_ignored(**step: Any) -> torch.Tensor:
    """Lets every token see the keys of the first request."""
    return chunk({**step, "cu_seqlen_ks": torch.zeros_like(step["cu_seqlen_ks"])})
