"""What a chunk of a sparse prefill is given, and where the rows of its keys go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4

if TYPE_CHECKING:
    from collections.abc import Callable

    Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]

WIDTH_UNIT = 128
"""Columns of indices come in so many: FlashMLA's sparse prefill takes no others.

Source: vLLM 0.33.0 `models/deepseek_v4/common/ops/cache_utils.py:749`.
"""


class Rows(NamedTuple):
    """Where in the rows of a chunk those of a request lie.

    Attributes:
        of_request: rows from one request to the next.
        first_swa: the row of its sliding window's first token.
    """

    of_request: int
    first_swa: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The queries of a chunk and what they name: one layer at compress ratio 4 (C4A).

    A request's tokens are those of its earlier chunks, then its queries' own. Every query attends
    to entries of the compressed cache that the indexer chose, and to the last tokens before it.

    Attributes:
        k_cache: uint8 [num_blocks, block_size, 584], compressed entries; strided in dimension 0
            at most.
        swa_k_cache: uint8 [swa_num_blocks, swa_block_size, 584], tokens; likewise.
        topk_indices: int32 [num_queries, topk], entries of a query's own request, those that
            count first: as many as there are before it, at most all. -1 is padding.
        query_start_loc: int32 [num_requests + 1], where each request's queries begin; the first
            may be any number, which is then taken off.
        compressed_lens: int32 [num_requests], entries that a request has in `k_cache`.
        seq_lens: int32 [num_requests], tokens that a request has in `swa_k_cache`, its queries'
            own being the last.
        gather_lens: int32 [num_requests], how many of its last ones its sliding windows reach.
        block_table: int32 [num_requests, blocks of a request], of `k_cache`.
        swa_block_table: likewise, of `swa_k_cache`.
        window_size: tokens of a sliding window, the query's own included.
        compress_ratio: tokens of an entry.
        max_compressed_len: the largest of `compressed_lens`.
        max_gather_len: the largest of `gather_lens`.

    Source: what vLLM 0.33.0 `models/deepseek_v4/nvidia/flashmla.py:262` has at hand.
    """

    k_cache: torch.Tensor
    swa_k_cache: torch.Tensor
    topk_indices: torch.Tensor
    query_start_loc: torch.Tensor
    compressed_lens: torch.Tensor
    seq_lens: torch.Tensor
    gather_lens: torch.Tensor
    block_table: torch.Tensor
    swa_block_table: torch.Tensor
    window_size: int
    compress_ratio: int
    max_compressed_len: int
    max_gather_len: int

    def __post_init__(self) -> None:
        """Look at the dtypes and shapes.

        Raises:
            UsageError: one that does not fit.
        """
        token_bytes = FP8_DS_MLA_V4.token_bytes
        for name in ("k_cache", "swa_k_cache"):
            pool: torch.Tensor = getattr(self, name)
            if pool.dtype != torch.uint8 or pool.dim() != 3 or pool.shape[2] != token_bytes:
                raise UsageError(
                    f"{name} is {pool.dtype} {list(pool.shape)}: it must be torch.uint8 "
                    f"[num_blocks, block_size, {token_bytes}]"
                )
        num_requests = self.num_requests
        shapes = {
            "topk_indices": (None, None),
            "query_start_loc": (num_requests + 1,),
            "compressed_lens": (num_requests,),
            "seq_lens": (num_requests,),
            "gather_lens": (num_requests,),
            "block_table": (num_requests, None),
            "swa_block_table": (num_requests, None),
        }
        for name, shape in shapes.items():
            _check(name, getattr(self, name), shape)

    @property
    def num_queries(self) -> int:
        """Of all requests."""
        return self.topk_indices.shape[0]

    @property
    def num_requests(self) -> int:
        """As many as have lens."""
        return self.seq_lens.shape[0]

    @property
    def width(self) -> int:
        """Columns of the indices: entries and window, in whole units."""
        wanted = self.topk_indices.shape[1] + self.window_size
        return (wanted + WIDTH_UNIT - 1) // WIDTH_UNIT * WIDTH_UNIT

    def indices(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Unwritten indices and lens: int32 [num_queries, width] and [num_queries]."""
        new = self.topk_indices.new_empty
        return new((self.num_queries, self.width)), new((self.num_queries,))


def _check(name: str, tensor: torch.Tensor, shape: tuple[int | None, ...]) -> None:
    fits = tensor.dim() == len(shape) and all(
        wanted is None or size == wanted for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if tensor.dtype != torch.int32 or not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise UsageError(
            f"{name} is {tensor.dtype} {list(tensor.shape)}: it must be torch.int32 [{wanted}]"
        )
