"""Red zones around a tensor's memory, which show when code writes outside it.

::

    memory   | red zone before | the tensor's bytes                   | red zone after |
             0                 first_byte                             end_byte         num_bytes
    offsets  negative          0 ... span_bytes - 1                   from span_bytes on

The zones hold a pattern that depends on the position, so that neither a fill nor a copy of one
part to another leaves it as it was. The tensor keeps its shape, strides and alignment.

**Does not prove:** that nothing was written beyond the zones, or written with the very bytes
that stood there, or written and put back.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from oom_suite.records.safety import Region

RED_ZONE_BYTES = 64 << 10
"""More than a row of output with 64 heads, and than a page of 64 tokens."""

_ALIGNMENT_BYTES = 512
"""What CUDA's allocator aligns to; Triton specializes kernels on 16 bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class GuardedBuffer:
    """A tensor between two red zones.

    Attributes:
        name: the argument that the tensor is given as.
        memory: uint8 [num_bytes], zones and all.
        tensor: the tensor itself, a view of `memory`.
        first_byte: where its bytes begin in `memory`.
        span_bytes: how many they are, gaps of its strides included.
    """

    name: str
    memory: torch.Tensor
    tensor: torch.Tensor
    first_byte: int
    span_bytes: int

    @property
    def own_bytes(self) -> torch.Tensor:
        """The tensor's own bytes, gaps included: uint8 [span_bytes], a view."""
        return self.memory[self.first_byte : self.first_byte + self.span_bytes]

    @property
    def zones(self) -> tuple[Region, Region]:
        """The two red zones."""
        end = self.first_byte + self.span_bytes
        behind_bytes = self.memory.numel() - end
        return (
            Region(self.name, "red zone before", None, None, -self.first_byte, self.first_byte, 1),
            Region(self.name, "red zone after", None, None, self.span_bytes, behind_bytes, 1),
        )

    def bytes_of(self, region: Region) -> torch.Tensor:
        """The bytes of a region of this tensor: uint8 [region.num_bytes], a view."""
        first = self.first_byte + region.first_byte
        return self.memory[first : first + region.num_bytes]

    def fill_zones(self) -> None:
        """Put the pattern into both zones."""
        for zone in self.zones:
            self.bytes_of(zone).copy_(_pattern(zone.num_bytes, self.memory.device))

    def hits(self) -> tuple[Region, ...]:
        """The bytes of the zones that no longer hold the pattern, one run a zone at the most."""
        found = []
        for zone in self.zones:
            differs = self.bytes_of(zone) != _pattern(zone.num_bytes, self.memory.device)
            run = changed_run(differs)
            if run is not None:
                found.append(self._hit(zone, *run))
        return tuple(found)

    def _hit(self, zone: Region, first: int, num_bytes: int) -> Region:
        first_byte = zone.first_byte + first
        distance = -(first_byte + num_bytes) if first_byte < 0 else first_byte - self.span_bytes
        return Region(self.name, zone.what, None, None, first_byte, num_bytes, distance + 1)


def guarded(name: str, tensor: torch.Tensor, red_zone_bytes: int = RED_ZONE_BYTES) -> GuardedBuffer:
    """A copy of a tensor between two red zones, in memory of its own.

    Args:
        name: the argument that it is given as.
        tensor: any strides, none of them negative; a pool's last page is padded like the others.
        red_zone_bytes: length of each zone; rounded up to keep the tensor's alignment.
    """
    span_bytes = _span_bytes(tensor)
    zone_bytes = -(-red_zone_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    # A byte past the tensor is a byte of the zone, whatever the tensor's length.
    memory = torch.empty(2 * zone_bytes + span_bytes, dtype=torch.uint8, device=tensor.device)
    storage = memory.untyped_storage()
    view = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(
        storage, zone_bytes // tensor.element_size(), tensor.shape, tensor.stride()
    )
    if tensor.numel():
        source = tensor.as_strided(
            (span_bytes // tensor.element_size(),), (1,), tensor.storage_offset()
        )
        memory[zone_bytes : zone_bytes + span_bytes].copy_(source.view(torch.uint8))
    buffer = GuardedBuffer(name, memory, view, zone_bytes, span_bytes)
    buffer.fill_zones()
    return buffer


def injure(buffer: GuardedBuffer, offset_bytes: int) -> None:
    """Change one byte at this offset from the tensor's first, to show that it is seen."""
    buffer.memory[buffer.first_byte + offset_bytes] ^= 1


def changed_run(differs: torch.Tensor) -> tuple[int, int] | None:
    """The first place and the length of the run that covers every True; None without any.

    Args:
        differs: bool [n].
    """
    at = differs.nonzero()
    if not len(at):
        return None
    first, last = int(at[0]), int(at[-1])
    return first, last - first + 1


def _span_bytes(tensor: torch.Tensor) -> int:
    if not tensor.numel():
        return 0
    last = int(
        sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    )
    span_bytes = (last + 1) * tensor.element_size()
    held_bytes = (
        int(tensor.untyped_storage().nbytes())
        - int(tensor.storage_offset()) * tensor.element_size()
    )
    if tensor.dim():
        whole_bytes = int(tensor.shape[0] * tensor.stride(0)) * tensor.element_size()
        span_bytes = max(span_bytes, min(whole_bytes, held_bytes))
    return span_bytes


# Every guarded tensor has two zones, and mostly of the same lengths.
@functools.lru_cache(maxsize=64)
def _pattern(num_bytes: int, device: torch.device) -> torch.Tensor:
    position = torch.arange(num_bytes, device=device)
    return ((position * 167 + (position >> 8) * 59 + 90) & 0xFF).to(torch.uint8)
