"""Tensor code other than decode, with one planted fault each: what `memory_law` tests judge.

Each is ``build(sizes, device)`` and gives the call; the decorator has its promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW, Promised

if TYPE_CHECKING:
    from collections.abc import Callable

_HIDDEN = 64
_PAGE = 16


@mutant(
    LAW,
    "lookup",
    promised=Promised({"num_rows": 4096, "num_tokens": 8}, independent_of=("num_rows",)),
)
def gather_of_the_whole_table(sizes: Any, device: torch.device) -> Callable[[], object]:
    """An embedding lookup that widens the table before it looks up."""
    table = torch.empty(sizes.num_rows, _HIDDEN, dtype=torch.bfloat16, device=device)
    rows = torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)

    def lookup() -> torch.Tensor:
        return table.to(torch.float32)[rows]

    return lookup


@mutant(LAW, "append", promised=Promised({"num_cached": 1024}, independent_of=("num_cached",)))
def append_by_concatenation(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A key that is appended to a cache by making the whole cache anew."""
    cache = torch.empty(sizes.num_cached, _HIDDEN, dtype=torch.bfloat16, device=device)
    key = torch.empty(1, _HIDDEN, dtype=torch.bfloat16, device=device)

    def append() -> torch.Tensor:
        return torch.cat([cache, key])

    return append


@mutant(
    LAW,
    "reorder",
    promised=Promised({"num_blocks": 512, "num_beams": 4}, independent_of=("num_blocks",)),
)
def reorder_by_copy(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Beams that are reordered by copying their caches, not their block tables."""
    cache = torch.empty(sizes.num_blocks, _PAGE, _HIDDEN, dtype=torch.bfloat16, device=device)
    parents = torch.zeros(sizes.num_beams, dtype=torch.int64, device=device)

    def reorder() -> torch.Tensor:
        beams = cache.view(sizes.num_beams, -1, _PAGE, _HIDDEN)
        return beams[parents]

    return reorder


@mutant(
    LAW,
    "loss",
    promised=Promised(
        {"num_tokens": 1024, "vocabulary": 512},
        independent_of=("num_tokens",),
        far={"num_tokens": (256, 4096)},
    ),
)
def logits_of_every_token(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A cross-entropy in chunks whose logits are made at once for all tokens."""
    hidden = torch.zeros(sizes.num_tokens, _HIDDEN, device=device)
    head = torch.zeros(_HIDDEN, sizes.vocabulary, device=device)

    def loss() -> torch.Tensor:
        logits = hidden @ head
        total = hidden.new_zeros(())
        for first in range(0, sizes.num_tokens, 256):
            total = total + logits[first : first + 256].logsumexp(dim=-1).sum()
        return total

    return loss


@mutant(
    LAW,
    "dispatch",
    promised=Promised(
        {"num_tokens": 64, "num_experts": 8}, at_most="(num_tokens + 16*num_experts) * 256"
    ),
)
def every_expert_for_every_token(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A dispatch that lays out room for every token at every expert."""
    hidden = torch.zeros(sizes.num_tokens, _HIDDEN, device=device)

    def dispatch() -> torch.Tensor:
        return hidden.new_zeros(sizes.num_experts, sizes.num_tokens, _HIDDEN)

    return dispatch


@mutant(LAW, "attend", promised=Promised({"num_tokens": 512}, at_most="num_tokens*64*4 + 1MiB"))
def scores_of_all_pairs(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Attention in chunks of queries over a mask of all pairs."""
    q = torch.zeros(sizes.num_tokens, _HIDDEN, device=device)

    def attend() -> torch.Tensor:
        causal = q.new_ones(sizes.num_tokens, sizes.num_tokens, dtype=torch.bool)
        total = q.new_zeros(())
        for first in range(0, sizes.num_tokens, 256):
            chunk = q[first : first + 256]
            total = total + (chunk.sum() + causal[0, 0])
        return total

    return attend


@mutant(
    LAW,
    "take",
    promised=Promised({"num_blocks": 4096, "num_tokens": 4}, independent_of=("num_blocks",)),
)
def bitmap_of_pages(sizes: Any, device: torch.device) -> Callable[[], object]:
    """An allocator of pages that copies its bitmap at each step."""
    free = torch.zeros((sizes.num_blocks + 7) // 8, dtype=torch.uint8, device=device)
    wanted = torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)

    def take() -> torch.Tensor:
        before = free.clone()
        return before[wanted]

    return take


@twin(LAW, promised=Promised({"num_rows": 4096, "num_tokens": 8}, independent_of=("num_rows",)))
def gathered_by_index_select(sizes: Any, device: torch.device) -> Callable[[], object]:
    """An embedding lookup that widens only what it looked up."""
    table = torch.empty(sizes.num_rows, _HIDDEN, dtype=torch.bfloat16, device=device)
    rows = torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)
    return lambda: table.index_select(0, rows).to(torch.float32)


@twin(LAW, promised=Promised({"num_cached": 1024}, independent_of=("num_cached",)))
def appended_in_place(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A key that is written where there is room for it."""
    cache = torch.empty(sizes.num_cached, _HIDDEN, dtype=torch.bfloat16, device=device)
    key = torch.empty(1, _HIDDEN, dtype=torch.bfloat16, device=device)
    return lambda: cache[-1:].copy_(key)


@twin(
    LAW,
    promised=Promised(
        {"num_tokens": 1024, "vocabulary": 512},
        independent_of=("num_tokens",),
        far={"num_tokens": (256, 4096)},
    ),
)
def logits_in_chunks(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A cross-entropy whose logits are made and dropped chunk by chunk."""
    hidden = torch.zeros(sizes.num_tokens, _HIDDEN, device=device)
    head = torch.zeros(_HIDDEN, sizes.vocabulary, device=device)

    def loss() -> torch.Tensor:
        total = hidden.new_zeros(())
        for first in range(0, sizes.num_tokens, 256):
            total.add_((hidden[first : first + 256] @ head).logsumexp(dim=-1).sum())
        return total

    return loss


@twin(
    LAW,
    promised=Promised(
        {"num_tokens": 64, "num_experts": 8}, at_most="(num_tokens + 16*num_experts) * 256"
    ),
)
def padded_for_its_experts(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A dispatch whose rows are padded to a tile of 16 for each expert."""
    hidden = torch.zeros(sizes.num_tokens, _HIDDEN, device=device)

    def dispatch() -> torch.Tensor:
        return hidden.new_zeros(sizes.num_tokens + 15 * sizes.num_experts, _HIDDEN)

    return dispatch
