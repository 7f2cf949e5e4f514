"""The token-gather step in pieces, so that a mutant or a twin replaces one of them.

With no piece replaced it is `token_gather_decode` of the built-ins, operator by operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.sparse_mla.builtins import token_gather_decode
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import Fp8Rows, locate, pool_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead, Slots


def decode_holding(step: Mapping[str, Any], *held: object) -> None:
    """A healthy step while these tensors are alive."""
    token_gather_decode(**step)
    del held


POOL_ARGUMENTS = (
    "swa_k_cache",
    "swa_indices",
    "swa_lens",
    "swa_only",
    "kv_cache",
    "topk_indices",
    "topk_lens",
)


def where_named(part: PoolRead) -> Slots:
    """Where the entries of a pool's indices point."""
    return locate(part.indices, part.lens, part.pool.shape[1])


def rows_named(pool: Fp8Rows, slots: Slots) -> Fp8Rows:
    """The bytes of the tokens named."""
    return pool.at(slots.block, slots.offset)


def values_of(rows: Fp8Rows) -> torch.Tensor:
    """The values that those bytes stand for, float32."""
    return rows.decode(torch.float32)


def pool_rows(part: PoolRead, step: Mapping[str, Any]) -> Fp8Rows:
    """The pool's own memory as rows."""
    dtype = step.get("fp8_dtype", torch.float8_e4m3fn)
    return Fp8Rows.of_pool(part.pool, step["nope_head_dim"], step["rope_head_dim"], dtype)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a step, each the healthy one unless given.

    Attributes:
        view: a pool as rows.
        locate: where a pool's indices point.
        rows: the bytes of the tokens named.
        values: the values that bytes stand for.
        attention: the running softmax.
    """

    view: Callable[[PoolRead, Mapping[str, Any]], Fp8Rows] = pool_rows
    locate: Callable[[PoolRead], Slots] = where_named
    rows: Callable[[Fp8Rows, Slots], Fp8Rows] = rows_named
    values: Callable[[Fp8Rows], torch.Tensor] = values_of
    attention: type[RunningAttention] = RunningAttention


def parts_of(step: Mapping[str, Any]) -> list[PoolRead]:
    """The pools that a step reads, each with its indices."""
    return pool_reads(**{name: step[name] for name in POOL_ARGUMENTS})


def gather(step: Mapping[str, Any], pieces: Pieces) -> None:
    """One decode step of these pieces; writes ``output``."""
    attention = pieces.attention(step["q"], step["scale"])
    for part in parts_of(step):
        pool = pieces.view(part, step)
        slots = pieces.locate(part)
        keys = pieces.values(pieces.rows(pool, slots))
        attention.add(keys, slots.counts)
        del keys, slots
    attention.finish(step["attn_sink"], step["output"])
