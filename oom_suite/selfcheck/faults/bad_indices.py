"""Steps that are right for the indices of every day, and wrong for those of some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.selfcheck.faults.gather import Pieces, gather, where_named
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead, Slots


class _DividesByNothing(RunningAttention):
    """No row is taken to be empty."""

    def finish(self, attn_sink: torch.Tensor | None, output: torch.Tensor) -> None:
        super().finish(attn_sink, output)
        output.masked_fill_((self._sum == 0).unsqueeze(-1), torch.nan)


@mutant("indices", "wrong-answer")
def empty_row_is_nan(**step: Any) -> None:
    """Divides by a sum of weights that is zero: NaN for a request of length zero."""
    gather(step, Pieces(attention=_DividesByNothing))


@mutant("indices", "wrong-answer")
def last_slot_excluded(**step: Any) -> None:
    """Takes the pool's last slot to be one past its end."""

    def locate(part: PoolRead) -> Slots:
        slots = where_named(part)
        last = part.pool.shape[0] * part.pool.shape[1] - 1
        return slots._replace(counts=slots.counts & (part.indices < last))

    gather(step, Pieces(locate=locate))


@mutant("indices", "wrong-answer")
def indices_taken_as_contiguous(**step: Any) -> None:
    """Reads rows of indices one behind the other, whatever their stride."""
    indices = step["swa_indices"].flatten(1)
    dense = indices.as_strided(indices.shape, (indices.shape[1], 1))
    token_gather_decode(**{**step, "swa_indices": dense})


@mutant("indices", "wrong-answer")
def indices_taken_as_int32(**step: Any) -> None:
    """Reads int64 indices as twice as many int32 ones."""
    indices = step["swa_indices"].flatten(1)
    if indices.dtype == torch.int64:
        indices = indices.contiguous().view(torch.int32)[:, : indices.shape[1]]
    token_gather_decode(**{**step, "swa_indices": indices})
