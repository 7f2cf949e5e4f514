"""A prefill chunk's small ones, for safety detectors."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oom_suite.workloads.sparse_mla.prefill.step import ChunkOptions, small
from oom_suite.workloads.sparse_mla.variants import LayoutBytes
from oom_suite.workloads.variants import IndexVariant, Replay, Variant, Variants

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from oom_suite.records import Workload

_MOST = 2**31 - 1
_FEW, _MANY = 2, 256
"""Queries that chunks have more of, one than the next, while memory is watched."""
_PADDED = ChunkOptions(
    seq_lens=(90,), query_lens=(6,), topk=9, window=12, padded=True, first_start=8, seed=1
)
_INDICES: tuple[tuple[str, bool, dict[str, Any]], ...] = (
    ("-1 alone", True, {"named": (-1,)}),
    ("-1 anywhere", True, {"named": (-1, 5, -1, 5, 2, 9, -1)}),
    ("the last entry and those behind it", True, {"named": (14, 15, 16, _MOST, -2, -(2**31), 0)}),
    ("one entry named by all", True, {"named": (4,), "spare_rows": 0}),
    ("every entry", True, {"named": tuple(range(15)), "topk": 15, "spare_rows": 0}),
    ("a request's first tokens", True, {"seq_lens": (3, 9), "query_lens": (3, 9)}),
    ("a request without queries", True, {"query_lens": (0, 3)}),
    ("no request", False, {"seq_lens": (), "query_lens": ()}),
)


class ChunkVariants(Variants):
    """Small chunks: of two requests, of one in padded pages, and with every kind of index."""

    pool_bytes = LayoutBytes()

    def plain(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """Two requests whose queries share entries, and one in padded pages."""
        two = _variant("two requests", ChunkOptions(), device)
        return [two, _variant("padded pages", _PADDED, device)]

    def index_variants(
        self, workload: Workload, device: torch.device, arch: str
    ) -> Sequence[IndexVariant]:
        """Padding, entries that there are not, and requests with little or nothing."""
        return [
            IndexVariant(name, needed, _variant(name, replace(ChunkOptions(), **changes), device))
            for name, needed, changes in _INDICES
        ]

    def captured_sizes(self, workload: Workload) -> Sequence[Mapping[str, int]]:
        """Those of the small scenario."""
        return (workload.scenario("small").sizes,)

    def cycle(self, workload: Workload, *, is_small: bool) -> Sequence[Mapping[str, int]]:
        """Chunks that get shorter and longer; the first names the most."""
        base = workload.scenario("small" if is_small else "chunk").sizes
        most = _FEW if is_small else _MANY
        found = []
        for part in (6, 4, 3, 2, 1, 5):
            sizes = {"num_queries": part * most, "union_rows": part * most, "topk": 128}
            found.append(workload.resize(base, sizes))
        return found

    def far(self, workload: Workload, device: torch.device, arch: str) -> Variant:
        """One request that has all of eight blocks of 64 tokens."""
        options = ChunkOptions(
            seq_lens=(512,), query_lens=(8,), topk=128, window=64, num_blocks=8, block_size=64,
            named=tuple(range(127, -1, -1)),
        )  # fmt: skip
        return _variant("all blocks", options, device)

    def replays(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Replay]:
        """Other entries, blocks and contents, of which there are fewer than rows."""
        first = ChunkOptions(seed=1)
        other = replace(first, seed=2, named=(8, 2, 2, -1, 11), spare_rows=0)
        rows = small(other)["max_union"]
        first = replace(first, spare_rows=0)
        most = max(rows, small(first)["max_union"])

        def made(options: ChunkOptions) -> dict[str, Any]:
            return small(options, device) | {"max_union": most}

        return [Replay(functools.partial(made, first), functools.partial(made, other))]


VARIANTS = ChunkVariants()


def _variant(name: str, options: ChunkOptions, device: torch.device) -> Variant:
    return Variant(name, functools.partial(small, options, device))
