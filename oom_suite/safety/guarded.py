"""The tensors of a step between red zones, and poison for memory that it should not read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.operands import is_composed_of
from oom_suite.safety.guards import GuardedBuffer, guarded
from oom_suite.safety.poison import (
    ZERO,
    distance_bytes,
    named_slots,
    num_names,
    pools_of,
    width,
)
from oom_suite.torch_compat.dispatch import DispatchMode, taken_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from oom_suite.records import Frame
    from oom_suite.records.safety import Region
    from oom_suite.records.workload import Pool
    from oom_suite.safety.poison import Poison
    from oom_suite.safety.steps import Target
    from oom_suite.workloads.variants import PoolBytes


_aten = torch.ops.aten
_UNWRITTEN = frozenset(
    {
        _aten.empty,
        _aten.empty_like,
        _aten.empty_permuted,
        _aten.empty_strided,
        _aten.new_empty,
        _aten.new_empty_strided,
    }
)
"""What gives memory that nobody has written.

Source: PyTorch 2.13 ``aten/src/ATen/native/native_functions.yaml``; 2.11 has the same.
"""


class PoisonedMemory(DispatchMode):
    """Fills each new unwritten tensor with poison.

    Args:
        poison: what to fill with; the others get zeros, so that equal calls stay equal.
        stack: gives the line of the code under test that runs now.
        chosen: which allocations to fill, counted from 0; None for all.

    **Does not prove:** anything about memory that a kernel or a library takes inside itself.
    """

    def __init__(
        self,
        poison: Poison,
        stack: Callable[[], tuple[Frame, ...]],
        chosen: Collection[int] | None = None,
    ) -> None:
        """Nothing is filled before the mode is entered."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.poison = poison
        self._stack = stack
        self._chosen = chosen
        self.lines: list[Frame | None] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operator's result, filled where it came unwritten."""
        if is_composed_of(func, args):
            return taken_apart(self, func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _UNWRITTEN:
            is_chosen = self._chosen is None or len(self.lines) in self._chosen
            _fill(result, self.poison if is_chosen else ZERO)
            self.lines.append(next(iter(self._stack()), None))
        return result


def poison_free_memory(device: torch.device, poison: Poison, num_bytes: int = 64 << 20) -> None:
    """Leave poison in memory that a GPU's allocator will hand out next; nothing on a CPU."""
    if device.type == "cuda":
        torch.empty(num_bytes, dtype=torch.uint8, device=device).fill_(poison.byte)
        torch.cuda.synchronize(device)


def _fill(tensor: torch.Tensor, poison: Poison) -> None:
    if not tensor.numel():
        return
    if tensor.is_floating_point() or tensor.dtype == torch.uint8:
        whole = tensor.untyped_storage()
        torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(whole).fill_(poison.byte)
    else:
        tensor.fill_(poison.integer)


@dataclass(frozen=True, slots=True, eq=False)
class GuardedStep:
    """The keyword arguments of a step, each tensor guarded.

    Attributes:
        step: what the code under test is called with.
        buffers: the guarded tensors by argument.
        pools: the pools that the step has, by argument.
        slots: the slots that the step names, by pool.
        pool_bytes: which bytes of a pool belong to which token.
    """

    step: dict[str, Any]
    buffers: dict[str, GuardedBuffer]
    pools: dict[str, Pool]
    slots: dict[str, frozenset[int]]
    pool_bytes: PoolBytes

    def unreferenced(self) -> tuple[Region, ...]:
        """All that the step does not reference: parts of its pools, and red zones."""
        parts: list[Region] = []
        for pool, slots in self.slots.items():
            parts.extend(self.pool_bytes.unreferenced(pool, self.step[pool], slots))
        for buffer in self.buffers.values():
            parts.extend(buffer.zones)
        return tuple(parts)

    def measured(self, region: Region) -> Region:
        """The region with its distance from the nearest byte that the step may read."""
        if region.tensor not in self.slots:
            return region
        slots = self.slots[region.tensor]
        spans = self.pool_bytes.referenced_spans(self.step[region.tensor], slots)
        distance = distance_bytes(region.first_byte, region.num_bytes, spans) if spans else None
        return replace(region, distance_bytes=distance)

    def fill(self, region: Region, poison: Poison) -> None:
        """Put poison there.

        Beside indices stand indices that the pool has, and beside lens lengths that its rows
        have: what reads them goes to poisoned tokens, and nowhere worse.
        """
        target = self.buffers[region.tensor].bytes_of(region)
        value = self._integer(region.tensor, poison)
        if value is None:
            target.fill_(poison.byte)
            return
        dtype = self.step[region.tensor].dtype
        target.view(dtype).fill_(value)

    def _integer(self, name: str, poison: Poison) -> int | None:
        for pool in self.pools.values():
            if name == pool.lens:
                return min(poison.integer, width(pool, self.step))
            if name == pool.indices:
                choice = self._free(pool) or range(num_names(pool, self.step))
                return choice[poison.integer % len(choice)]
        return None

    def _free(self, pool: Pool) -> list[int]:
        """The indices of the pool that the step does not name."""
        named: Collection[int] = self.slots[pool.name]
        if pool.names == "blocks":
            block_size = self.step[pool.name].shape[1]
            named = {slot // block_size for slot in named}
        return [index for index in range(num_names(pool, self.step)) if index not in named]


def guard_step(target: Target, step: Mapping[str, Any]) -> GuardedStep:
    """A copy of the step with every tensor between red zones, those in tuples as ``name[0]``."""
    buffers: dict[str, GuardedBuffer] = {}

    def within(name: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(within(f"{name}[{number}]", one) for number, one in enumerate(value))
        if isinstance(value, torch.Tensor):
            buffers[name] = guarded(name, value)
            return buffers[name].tensor
        return value

    own = {name: within(name, value) for name, value in step.items()}
    pools = {pool.name: pool for pool in pools_of(target.workload.pools, step)}
    slots = {name: named_slots(pool, step) for name, pool in pools.items()}
    return GuardedStep(own, buffers, pools, slots, target.variants.pool_bytes)


def fill_unreferenced(guarded_step: GuardedStep, seed: int = 0) -> None:
    """Put arbitrary finite values into all of a step's pools that it does not reference.

    The same step and seed get the same values.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    for part in guarded_step.unreferenced():
        if part.tensor in guarded_step.slots:
            # Below 0x40 every format is finite: up to 1.9 as fp8, 1 as a scale, 0.75 as bf16.
            values = torch.randint(0x40, (part.num_bytes,), generator=generator)
            guarded_step.buffers[part.tensor].bytes_of(part).copy_(values)
