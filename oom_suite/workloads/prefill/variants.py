"""Small chunks of sparse attention, for safety detectors, and what they must give."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.prefill.step import HEAD_DIM, NOPE_HEAD_DIM, ROPE_HEAD_DIM
from oom_suite.workloads.sparse_mla.exact_attention import attention, rounding
from oom_suite.workloads.variants import IndexVariant, Replay, SmallSteps, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.records import Workload


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """What a small chunk is like.

    Attributes:
        lens: indices of each token that count.
        width: indices that a row has room for.
        padding: every so many-th index is -1; 0 for none.
        first_key: the first that is named; the others follow, and go round.
        num_heads: query heads.
        num_keys: keys that were gathered.
        sink: whether there is an attention sink.
        seed: of the contents.
    """

    lens: tuple[int, ...] = (16, 5, 11)
    width: int = 16
    padding: int = 0
    first_key: int = 3
    num_heads: int = 4
    num_keys: int = 60
    sink: bool = True
    seed: int = 0


def small(options: ChunkOptions, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The keywords of `step.build_attention` with random contents; the output is NaN."""
    generator = torch.Generator(device="cpu").manual_seed(options.seed)
    num_tokens = len(options.lens)
    shape = (num_tokens, options.num_heads, HEAD_DIM)
    q = torch.randn(shape, generator=generator).to(torch.bfloat16)
    kv = torch.randn((options.num_keys, 1, HEAD_DIM), generator=generator).to(torch.bfloat16)
    sink = torch.randn(options.num_heads, generator=generator)
    # Sevens go round a number of keys that they do not divide, and so name scattered ones.
    place = torch.arange(num_tokens * options.width)
    named = (options.first_key + 7 * place) % options.num_keys
    if options.padding:
        named[:: options.padding] = -1
    return {
        "q": q.to(device),
        "kv": kv.to(device),
        "indices": named.int().view(num_tokens, 1, options.width).to(device),
        "topk_length": torch.tensor(options.lens, dtype=torch.int32, device=device),
        "scale": HEAD_DIM**-0.5,
        "head_dim": HEAD_DIM,
        "nope_head_dim": NOPE_HEAD_DIM,
        "rope_head_dim": ROPE_HEAD_DIM,
        "attn_sink": sink.to(device) if options.sink else None,
        "output": torch.full(shape, torch.nan, dtype=torch.bfloat16, device=device),
    }


def oracle(step: Mapping[str, Any]) -> torch.Tensor:
    """The attention over the keys that count, and the sink: float64 as ``output``, on the CPU."""
    return attention(step, functools.partial(_keys, step))


def tolerance(step: Mapping[str, Any], expected: torch.Tensor) -> torch.Tensor:
    """How far a correct result may be from `oracle`'s."""
    return rounding(step, expected, functools.partial(_keys, step))


def _keys(step: Mapping[str, Any], token: int) -> torch.Tensor:
    """The keys that a token attends to: -1 names none."""
    row = step["indices"][token].reshape(-1)[: int(step["topk_length"][token])]
    keys: torch.Tensor = step["kv"][row[row >= 0].long(), 0].to("cpu", torch.float64)
    return keys


_INDICES: tuple[tuple[str, bool, dict[str, Any]], ...] = (
    ("-1 anywhere", True, {"padding": 3}),
    ("-1 alone", True, {"padding": 1}),
    ("lens zero", True, {"lens": (0, 0, 7)}),
    ("lens zero without sink", True, {"lens": (0, 0, 7), "sink": False}),
    ("the last key", True, {"first_key": 59}),
    ("empty batch", False, {"lens": ()}),
)


class ChunkVariants(SmallSteps):
    """The steps of `sparse-prefill`; a key is a block of one."""

    def plain(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """With a sink, and without one and with padding."""
        del workload, arch
        padded = ChunkOptions(padding=4, sink=False, seed=1)
        return [
            _variant("mixed lens", ChunkOptions(), device),
            _variant("padding without sink", padded, device),
        ]

    def index_variants(
        self, workload: Workload, device: torch.device, arch: str
    ) -> Sequence[IndexVariant]:
        """Padding and lengths of every kind, the last key, and no token at all."""
        del workload, arch
        return [
            IndexVariant(name, needed, _variant(name, ChunkOptions(**changes), device))
            for name, needed, changes in _INDICES
        ]

    def far(self, workload: Workload, device: torch.device, arch: str) -> Variant:
        """Every one of eight keys."""
        del workload, arch
        return _variant("all keys", ChunkOptions(num_keys=8, seed=2), device)

    def cycle(self, workload: Workload, *, is_small: bool) -> Sequence[Mapping[str, int]]:
        """Chunks that get shorter and longer, in narrow rows."""
        return [
            {**sizes, "num_tokens": sizes["num_tokens"] // 16, "num_heads": 8, "width": 128}
            for sizes in super().cycle(workload, is_small=is_small)
        ]

    def replays(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Replay]:
        """Other indices, lengths and contents."""
        del workload, arch
        other = replace(ChunkOptions(), lens=(9, 16, 2), padding=5, first_key=1, seed=3)
        made = (functools.partial(small, one, device) for one in (ChunkOptions(), other))
        return [Replay(*made)]

    def titles(self) -> Mapping[str, str]:
        """In words."""
        return {"q": "queries", "attn_sink": "attention sink"}


VARIANTS = ChunkVariants()


def _variant(name: str, options: ChunkOptions, device: torch.device) -> Variant:
    return Variant(name, functools.partial(small, options, device))
