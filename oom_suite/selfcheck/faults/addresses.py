"""Steps that find a token's bytes by arithmetic of their own, which goes wrong somewhere.

Each reads the pool's storage as a flat run of bytes, as a kernel does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.selfcheck.faults.gather import Pieces, gather, pool_rows, where_named
from oom_suite.workloads.sparse_mla.builtins.rows import SCALES_BYTES, Fp8Rows, Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.workloads.sparse_mla.builtins.rows import PoolRead

_WORD = 1 << 32


class Address:
    """Where a token's data and scales begin in the pool's storage, in bytes, int64.

    Args:
        pool: uint8 [num_blocks, block_size, token_bytes], strided in dimension 0 at most.
        nope_head_dim: values a token in fp8.
        rope_head_dim: values a token in bf16.
    """

    def __init__(self, pool: torch.Tensor, nope_head_dim: int, rope_head_dim: int) -> None:
        """Read the strides."""
        self.block_size = pool.shape[1]
        self.stride_bytes = pool.stride(0)
        self.first: int = pool.storage_offset()  # type: ignore[assignment] # a size, or its symbol
        self.data_bytes = nope_head_dim + 2 * rope_head_dim

    def start(self, block: torch.Tensor) -> torch.Tensor:
        """Of the block."""
        return self.first + block * self.stride_bytes

    def data(self, block: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Of the token's values."""
        return self.start(block) + offset * self.data_bytes

    def scales(self, block: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Of the token's scales."""
        behind = self.block_size * self.data_bytes
        return self.start(block) + behind + offset * SCALES_BYTES


def flat_gather(step: Mapping[str, Any], address: type[Address]) -> None:
    """A decode step that reads flat storage at these addresses; beyond its end, the last byte."""
    dims = (step["nope_head_dim"], step["rope_head_dim"])
    where: list[Address] = []
    storage: list[torch.Tensor] = []

    def locate(part: PoolRead) -> Slots:
        slots = where_named(part)
        # What the pool does not have is padding: nothing else would keep a kernel inside.
        counts = slots.counts & (part.indices < part.pool.shape[0] * part.pool.shape[1])
        return Slots(slots.block * counts, slots.offset * counts, counts)

    def view(part: PoolRead, step: Mapping[str, Any]) -> Fp8Rows:
        num_bytes = part.pool.untyped_storage().nbytes()
        storage[:] = [part.pool.as_strided((num_bytes,), (1,), 0)]
        where[:] = [address(part.pool, *dims)]
        return pool_rows(part, step)

    def rows(pool: Fp8Rows, slots: Slots) -> Fp8Rows:
        return Fp8Rows(
            _read(storage[0], where[0].data(slots.block, slots.offset), where[0].data_bytes),
            _read(storage[0], where[0].scales(slots.block, slots.offset), SCALES_BYTES),
            pool.nope_head_dim,
            pool.fp8_dtype,
        )

    gather(step, Pieces(view=view, locate=locate, rows=rows))


def _read(storage: torch.Tensor, first: torch.Tensor, num_bytes: int) -> torch.Tensor:
    # A kernel would read whatever lies there; what lies in the storage is as wrong and does
    # not end the process.
    named = first.to(torch.int64).unsqueeze(-1) + torch.arange(num_bytes, device=first.device)
    return storage[named.clamp_(0, storage.shape[0] - 1)]


def _narrow(name: str, narrowed: Callable[[torch.Tensor], torch.Tensor]) -> type[Address]:
    """Addresses whose product of block and stride goes through a narrower type."""

    class Narrowed(Address):
        def start(self, block: torch.Tensor) -> torch.Tensor:
            return self.first + narrowed(block * self.stride_bytes)

    Narrowed.__name__ = name
    return Narrowed


@mutant("addresses", "wrong-address")
def block_times_stride_int32(**step: Any) -> None:
    """Multiplies block and stride in int32: wrong from 2 GiB on. Triton does so by default."""
    flat_gather(step, _narrow("Int32", lambda start: start.to(torch.int32)))


@mutant("addresses", "wrong-address")
def block_times_stride_uint32(**step: Any) -> None:
    """Multiplies block and stride in uint32: wrong from 4 GiB on."""
    flat_gather(step, _narrow("Uint32", lambda start: start % _WORD))


@mutant("addresses", "wrong-address")
def block_times_stride_float32(**step: Any) -> None:
    """Multiplies block and stride in float32: inexact from 16 MiB on."""
    flat_gather(step, _narrow("Float32", lambda start: start.to(torch.float32).to(torch.int64)))


@mutant("addresses", "wrong-address")
def slot_times_bytes_int32(**step: Any) -> None:
    """Multiplies the slot's number by the token's bytes in int32, and finds the block so."""

    class Slotwise(Address):
        """The block's start by way of its first slot."""

        def start(self, block: torch.Tensor) -> torch.Tensor:
            token_bytes = self.data_bytes + SCALES_BYTES
            padding_bytes = self.stride_bytes - self.block_size * token_bytes
            slot = (block * self.block_size).to(torch.int32)
            return self.first + (slot * token_bytes) + block * padding_bytes

    flat_gather(step, Slotwise)


@mutant("addresses", "wrong-address")
def scales_in_int32(**step: Any) -> None:
    """Finds the values in int64 and their scales in int32."""

    class Scales(Address):
        """Only the scales' addresses are narrow."""

        def scales(self, block: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
            wide = super().scales(block, offset)
            return wide.to(torch.int32)

    flat_gather(step, Scales)


@mutant("addresses", "wrong-address")
def block_as_int16(**step: Any) -> None:
    """Keeps the block's number in int16: wrong from 32,768 blocks on."""

    class Short(Address):
        """Blocks in int16."""

        def start(self, block: torch.Tensor) -> torch.Tensor:
            return super().start(block.to(torch.int16).to(torch.int64))

    flat_gather(step, Short)


@mutant("addresses", "wrong-address")
def elements_in_int32(**step: Any) -> None:
    """Counts decoded elements in int32: wrong from 2**31 of them on."""

    class Elements(Address):
        """A block's start by way of its first element."""

        def start(self, block: torch.Tensor) -> torch.Tensor:
            num_elements = self.block_size * 512
            element = (block * num_elements).to(torch.int32).to(torch.int64)
            return self.first + element // num_elements * self.stride_bytes

    flat_gather(step, Elements)


@mutant("addresses", "wrong-address")
def storage_offset_ignored(**step: Any) -> None:
    """Reads from the start of the storage that the cache is a view into."""

    class FromZero(Address):
        """As if every view began where its storage does."""

        def start(self, block: torch.Tensor) -> torch.Tensor:
            return super().start(block) - self.first

    flat_gather(step, FromZero)


@mutant("addresses", "wrong-address")
def pages_taken_as_contiguous(**step: Any) -> None:
    """Takes each block to begin where the one before ends, padding or not."""

    class Dense(Address):
        """Blocks without padding between them."""

        def start(self, block: torch.Tensor) -> torch.Tensor:
            return self.first + block * (self.block_size * (self.data_bytes + SCALES_BYTES))

    flat_gather(step, Dense)
