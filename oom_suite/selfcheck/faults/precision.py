"""Steps whose answer is wrong, by little or by much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.selfcheck.faults.gather import Pieces, gather, where_named
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode
from oom_suite.workloads.sparse_mla.builtins.attention import RunningAttention
from oom_suite.workloads.sparse_mla.builtins.rows import VALUES_PER_SCALE, Fp8Rows

if TYPE_CHECKING:
    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead, Slots


class _InBf16(RunningAttention):
    """The weighted sum is rounded to bf16 after every two keys."""

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        for first in range(0, keys.shape[1], 2):
            super().add(keys[:, first : first + 2].clone(), counts[:, first : first + 2])
            self._weighted = self._weighted.to(torch.bfloat16).to(torch.float32)


@mutant("precision", "wrong-answer")
def sums_in_bf16(**step: Any) -> None:
    """Keeps the weighted sum in bf16."""
    gather(step, Pieces(attention=_InBf16))


@mutant("precision", "wrong-answer")
def scale_of_nope_alone(**step: Any) -> None:
    """Scales the logits by the dimension without rope."""
    token_gather_decode(**{**step, "scale": step["nope_head_dim"] ** -0.5})


@mutant("precision", "wrong-answer")
def sink_missing(**step: Any) -> None:
    """Leaves the sink out of the softmax."""
    token_gather_decode(**{**step, "attn_sink": None})


@mutant("precision", "wrong-answer")
def sink_of_the_neighbour(**step: Any) -> None:
    """Gives each head the sink of the next one."""
    sink = step["attn_sink"]
    moved = None if sink is None else sink[: step["q"].shape[1]].roll(1)
    token_gather_decode(**{**step, "attn_sink": moved})


@mutant("precision", "wrong-answer")
def fnuz_read_as_fn(*, fp8_dtype: torch.dtype = torch.float8_e4m3fn, **step: Any) -> None:
    """Reads MI300's own fp8 as e4m3fn: every value twice as large."""
    del fp8_dtype
    token_gather_decode(**step)


@mutant("precision", "wrong-answer")
def fn_read_as_fnuz(*, fp8_dtype: torch.dtype = torch.float8_e4m3fn, **step: Any) -> None:
    """Reads e4m3fn as MI300's own fp8: every value half as large."""
    del fp8_dtype
    token_gather_decode(**step, fp8_dtype=torch.float8_e4m3fnuz)


class _NextScale(Fp8Rows):
    """Each tile of 64 values is given the scale of the tile before."""

    __slots__ = ()

    def decode(self, dtype: torch.dtype) -> torch.Tensor:
        rolled = self.scales.clone()
        num_scales = self.nope_head_dim // VALUES_PER_SCALE
        rolled[..., :num_scales] = self.scales[..., :num_scales].roll(1, dims=-1)
        return Fp8Rows(self.data, rolled, self.nope_head_dim, self.fp8_dtype).decode(dtype)


@mutant("precision", "wrong-answer")
def scale_of_the_neighbour_tile(**step: Any) -> None:
    """Gives each tile of 64 values the scale of another."""

    def values(rows: Fp8Rows) -> torch.Tensor:
        moved = _NextScale(rows.data, rows.scales, rows.nope_head_dim, rows.fp8_dtype)
        return moved.decode(torch.float32)

    gather(step, Pieces(values=values))


@mutant("precision", "wrong-answer")
def last_tile_unscaled(**step: Any) -> None:
    """Scales six of the seven tiles."""

    def values(rows: Fp8Rows) -> torch.Tensor:
        scales = rows.scales.clone()
        scales[..., rows.nope_head_dim // VALUES_PER_SCALE - 1] = 127
        return Fp8Rows(rows.data, scales, rows.nope_head_dim, rows.fp8_dtype).decode(torch.float32)

    gather(step, Pieces(values=values))


@mutant("precision", "wrong-answer")
def padding_attended(**step: Any) -> None:
    """Attends to slot 0 wherever an entry is padding."""

    def locate(part: PoolRead) -> Slots:
        slots = where_named(part)
        width = torch.arange(part.indices.shape[1], device=part.indices.device)
        return slots._replace(counts=width < part.lens.unsqueeze(1))

    gather(step, Pieces(locate=locate))


@mutant("precision", "wrong-answer")
def lens_ignored(**step: Any) -> None:
    """Attends to every entry that is no padding, whatever the length."""

    def locate(part: PoolRead) -> Slots:
        full = torch.full_like(part.lens, part.indices.shape[1])
        return where_named(part._replace(lens=full))

    gather(step, Pieces(locate=locate))


@mutant("precision", "wrong-answer")
def last_entry_missed(**step: Any) -> None:
    """Stops one entry before the row's length."""

    def locate(part: PoolRead) -> Slots:
        return where_named(part._replace(lens=part.lens - 1))

    gather(step, Pieces(locate=locate))


class _NopeAlone(RunningAttention):
    """Logits without the rope values."""

    def __init__(self, q: torch.Tensor, scale: float) -> None:
        without = q.clone()
        without[..., -64:] = 0
        super().__init__(without, scale)


@mutant("precision", "wrong-answer")
def rope_left_out(**step: Any) -> None:
    """Leaves the rope values out of the logits."""
    gather(step, Pieces(attention=_NopeAlone))


class _NoRescale(RunningAttention):
    """What was summed is not rescaled when the largest logit moves."""

    def add(self, keys: torch.Tensor, counts: torch.Tensor) -> None:
        before = self._sum.clone()
        moved = self._largest.clone()
        super().add(keys, counts)
        keep = torch.exp(moved - self._finite(self._largest))
        self._sum += torch.where(before > 0, before * (1 - keep), 0.0)


@mutant("precision", "wrong-answer")
def sum_not_rescaled(**step: Any) -> None:
    """Does not rescale the sum of weights when the second pool has the larger logit."""
    gather(step, Pieces(attention=_NoRescale))
