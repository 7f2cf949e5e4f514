"""A step whose every tensor lies between red zones, in memory that a detector may fill."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.caches.guards import GuardedBuffer, guarded
from oom_suite.caches.poison import distance_bytes, named_slots, referenced_spans, unreferenced
from oom_suite.geometry.layouts import FP8_DS_MLA_V4

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.caches.poison import Poison
    from oom_suite.records.safety import Region

POOLS = (("swa_k_cache", "swa_indices", "swa_lens"), ("kv_cache", "topk_indices", "topk_lens"))
"""Each pool's argument with those of its indices and lens."""

_INDICES = {"swa_indices": "swa_k_cache", "topk_indices": "kv_cache"}
_LENS = {"swa_lens": "swa_indices", "topk_lens": "topk_indices"}


@dataclass(frozen=True, slots=True, eq=False)
class GuardedStep:
    """The keyword arguments of a step, each tensor guarded.

    Attributes:
        step: what the code under test is called with.
        buffers: the guarded tensors by argument.
        slots: the slots that the step names, by pool.
    """

    step: dict[str, Any]
    buffers: dict[str, GuardedBuffer]
    slots: dict[str, frozenset[int]]

    def unreferenced(self) -> tuple[Region, ...]:
        """All that the step does not reference: parts of its pools, and red zones."""
        parts: list[Region] = []
        for pool, slots in self.slots.items():
            parts.extend(unreferenced(pool, self.step[pool], slots, FP8_DS_MLA_V4))
        for buffer in self.buffers.values():
            parts.extend(buffer.zones)
        return tuple(parts)

    def measured(self, region: Region) -> Region:
        """The region with its distance from the nearest byte that the step may read."""
        if region.tensor not in self.slots:
            return region
        spans = referenced_spans(self.step[region.tensor], self.slots[region.tensor], FP8_DS_MLA_V4)
        distance = distance_bytes(region.first_byte, region.num_bytes, spans) if spans else None
        return replace(region, distance_bytes=distance)

    def fill(self, region: Region, poison: Poison) -> None:
        """Put poison there.

        Beside indices stand slots that the pool has, and beside lens lengths that its rows have:
        what reads them goes to poisoned tokens, and nowhere worse.
        """
        target = self.buffers[region.tensor].bytes_of(region)
        value = self._integer(region.tensor, poison)
        if value is None:
            target.fill_(poison.byte)
            return
        dtype = self.step[region.tensor].dtype
        target.view(dtype).fill_(value)

    def _integer(self, name: str, poison: Poison) -> int | None:
        if name in _LENS:
            return int(min(poison.integer, self.step[_LENS[name]].shape[-1]))
        if name in _INDICES:
            pool = self.step[_INDICES[name]]
            num_slots = pool.shape[0] * pool.shape[1]
            free = [slot for slot in range(num_slots) if slot not in self.slots[_INDICES[name]]]
            choice = free or range(num_slots)
            return choice[poison.integer % len(choice)]
        return None


def guard_step(step: Mapping[str, Any]) -> GuardedStep:
    """A copy of the step with every tensor between red zones."""
    buffers = {
        name: guarded(name, value)
        for name, value in step.items()
        if isinstance(value, torch.Tensor)
    }
    tensors = {name: buffer.tensor for name, buffer in buffers.items()}
    slots = {
        pool: frozenset(named_slots(step[indices], step[lens]))
        for pool, indices, lens in POOLS
        if step[pool] is not None
    }
    return GuardedStep({**step, **tensors}, buffers, slots)


def fill_unreferenced(guarded_step: GuardedStep, seed: int) -> None:
    """Put arbitrary finite values into all of a step's pools that it does not reference."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    for part in guarded_step.unreferenced():
        if part.tensor in guarded_step.slots:
            # Below 0x40 every format is finite: up to 1.9 as fp8, 1 as a scale, 0.75 as bf16.
            values = torch.randint(0x40, (part.num_bytes,), generator=generator)
            guarded_step.buffers[part.tensor].bytes_of(part).copy_(values)
