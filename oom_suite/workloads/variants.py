"""Small steps with contents, by which safety detectors run any workload. No torch is imported.

A workload names an object of a subclass of `Variants`; `plain` is enough for most detectors. What
else can be overridden has a default that follows from `plain`, from the workload, or says that a
detector cannot do this part.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from oom_suite.records.safety import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import torch

    from oom_suite.records import Workload

    Step = dict[str, Any]

CYCLE = 6
"""Sizes of a creep run's cycle of steps."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A small step.

    Attributes:
        name: what it is like, for hits and facts.
        make: makes its keyword arguments anew, the same at each call, tensors on the device.
        oracle_arguments: further keywords of the oracle and the tolerance, beside the step.
    """

    name: str
    make: Callable[[], Step]
    oracle_arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexVariant:
    """A step whose indices or lens are unusual in themselves.

    Attributes:
        name: the case's name.
        is_required: whether the right answer is required; else the code may refuse it.
        variant: the step.
    """

    name: str
    is_required: bool
    variant: Variant


@dataclass(frozen=True, slots=True)
class Replay:
    """Two steps of the same shapes with other contents.

    Attributes:
        first: the step that is captured.
        other: what is written into its buffers before a replay.
    """

    first: Callable[[], Step]
    other: Callable[[], Step]


class PoolBytes:
    """Which bytes of a pool belong to which token: those of [num_blocks, block_size, ...].

    Override it for pools whose blocks have a layout of their own.
    """

    def unreferenced(
        self, name: str, pool: torch.Tensor, slots: Collection[int]
    ) -> tuple[Region, ...]:
        """The parts of a pool that a step which names these slots does not reference, in order.

        Args:
            name: the argument that the pool is given as.
            pool: the pool.
            slots: the slots named.
        """
        num_blocks, block_size = pool.shape[:2]
        page_bytes, token_bytes = _strides_bytes(pool)
        parts = []
        for block in range(num_blocks):
            here = [slot for slot in range(block_size) if block * block_size + slot in slots]
            at = block * page_bytes
            if here:
                free = (slot for slot in range(block_size) if slot not in here)
                parts += [
                    _region(name, "unreferenced token", block, s, at + s * token_bytes, token_bytes)
                    for s in free
                ]
            else:
                used_bytes = block_size * token_bytes
                parts.append(_region(name, "unreferenced block", block, None, at, used_bytes))
            padding_bytes = page_bytes - block_size * token_bytes
            if padding_bytes > 0:
                first = at + block_size * token_bytes
                parts.append(_region(name, "page padding", block, None, first, padding_bytes))
        return tuple(parts)

    def referenced_spans(
        self, pool: torch.Tensor, slots: Collection[int]
    ) -> tuple[tuple[int, int], ...]:
        """The bytes that a step which names these slots may read: first and end, in order."""
        page_bytes, token_bytes = _strides_bytes(pool)
        spans = []
        for slot in sorted(slots):
            block, token = divmod(slot, pool.shape[1])
            first = block * page_bytes + token * token_bytes
            spans.append((first, first + token_bytes))
        return tuple(spans)

    def place(self, pool: torch.Tensor, byte: int) -> tuple[int | None, int | None]:
        """The block and token that a byte belongs to; padding belongs to no token."""
        page_bytes, token_bytes = _strides_bytes(pool)
        block, within = divmod(byte, page_bytes)
        slot = within // token_bytes
        return block, slot if slot < pool.shape[1] else None

    def page_bytes(self, pool: torch.Tensor) -> int:
        """From one block to the next, as a server lays them out."""
        return _strides_bytes(pool)[0]


def _strides_bytes(pool: torch.Tensor) -> tuple[int, int]:
    size = pool.element_size()
    return pool.stride(0) * size, pool.stride(1) * size


def _region(
    name: str, what: str, block: int, slot: int | None, first_byte: int, num_bytes: int
) -> Region:
    return Region(name, what, block, slot, first_byte, num_bytes, None)


class Variants:
    """The steps of one workload."""

    pool_bytes: PoolBytes = PoolBytes()

    def plain(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """Small steps with random contents, one for each kind of layer or caller.

        What a step references has contents, and what it must not read holds anything else.

        Args:
            workload: whose; several may share these.
            device: where tensors lie.
            arch: the GPU that the code sees.
        """
        return ()

    def thorough(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """The steps that precision is looked at on; those of `plain` by default."""
        return self.plain(workload, device, arch)

    def forms(
        self, call: Callable[..., Any], arch: str
    ) -> Iterator[tuple[Callable[..., Any], str]]:
        """The call as it can be told to read other number formats, each with its architecture."""
        yield call, arch

    def for_indices(self, workload: Workload, device: torch.device, arch: str) -> Variant:
        """The step whose indices and lens are spoiled; the first of `plain` by default."""
        return self.plain(workload, device, arch)[0]

    def index_variants(
        self, workload: Workload, device: torch.device, arch: str
    ) -> Sequence[IndexVariant]:
        """Steps whose indices or lens are unusual; by default the one that is spoiled, whole."""
        return (IndexVariant("as they are", True, self.for_indices(workload, device, arch)),)

    def far(self, workload: Workload, device: torch.device, arch: str) -> Variant:
        """The step whose blocks are placed far apart; the first of `plain` by default."""
        return self.plain(workload, device, arch)[0]

    def replays(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Replay]:
        """Steps to be captured, with other contents for them; none by default."""
        return ()

    def titles(self) -> Mapping[str, str]:
        """What arguments are called whose contents change before a replay; else their keyword."""
        return {}

    def counted(
        self, step: Mapping[str, Any], outputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        """What counts of a call's results; by default all of it.

        Args:
            step: what was called.
            outputs: copies of what it gave.
        """
        del step
        return outputs

    def at_sizes(
        self, workload: Workload, sizes: Mapping[str, int], device: torch.device
    ) -> Variant | None:
        """A step of these sizes, of a pool as large as can be given contents; None for none."""
        return None

    def captured_sizes(self, workload: Workload) -> Sequence[Mapping[str, int]]:
        """The builder's sizes at which a capture is recorded; small ones by default."""
        return (small_sizes(workload),)

    def cycle(self, workload: Workload, *, is_small: bool) -> Sequence[Mapping[str, int]]:
        """The builder's sizes of `CYCLE` steps that come again and again; the largest first.

        By default every axis but the pools' falls and rises by its step.

        Args:
            workload: whose.
            is_small: whether real tensors on a CPU are to be computed.
        """
        base = small_sizes(workload) if is_small else dict(workload.scenario().sizes)
        return cycle_from(workload, base)

    def longer(self, workload: Workload, *, is_small: bool) -> Sequence[Mapping[str, int]]:
        """The builder's sizes of steps with ever longer contexts; none by default."""
        return ()

    def contents(
        self, workload: Workload, sizes: Mapping[str, int], number: int
    ) -> Mapping[str, torch.Tensor]:
        """What is written into a step's buffers before it: the same for the same number.

        Args:
            workload: whose.
            sizes: the step's.
            number: 0 to 3.
        """
        return {}


class SmallSteps(Variants):
    """Steps whose memory is watched near the smallest sizes of their axes, on a GPU too."""

    def cycle(self, workload: Workload, *, is_small: bool) -> Sequence[Mapping[str, int]]:
        """Every axis but the pools' falls and rises by its step."""
        del is_small
        base = small_sizes(workload)
        base |= {axis.name: min(base[axis.name], *axis.far) for axis in workload.axes}
        return cycle_from(workload, base)


class SeededSteps(SmallSteps):
    """One small step, and other contents of it.

    Args:
        name: what it is like, for hits and facts.
        make: gives its keyword arguments for a device and a seed.
        oracle_arguments: as of `Variant`.
    """

    def __init__(self, name: str, make: Callable[..., Step], **oracle_arguments: Any) -> None:
        """Nothing is made yet."""
        self._variant = functools.partial(Variant, name, oracle_arguments=oracle_arguments)
        self._make = make

    def plain(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Variant]:
        """The one."""
        del workload, arch
        return [self._variant(make=functools.partial(self._make, device, 0))]

    def replays(self, workload: Workload, device: torch.device, arch: str) -> Sequence[Replay]:
        """With the contents of another seed."""
        del workload, arch
        return [Replay(*(functools.partial(self._make, device, seed) for seed in (0, 1)))]


Results = TypeVar("Results", "torch.Tensor", "tuple[torch.Tensor, ...]")


def exact(step: Mapping[str, Any], expected: Results, **arguments: Any) -> Results:
    """The tolerance of a result that must be exact: zeros."""
    del step, arguments
    if isinstance(expected, tuple):
        return tuple(one.new_zeros(one.shape) for one in expected)
    return expected.new_zeros(expected.shape)


def cycle_from(workload: Workload, base: Mapping[str, int]) -> Sequence[Mapping[str, int]]:
    """`CYCLE` sizes from these on; every axis but the pools' falls and rises by its step."""
    moving = [a for a in workload.axes if a.name not in workload.contract.independent_of]
    found = []
    for number in (5, 4, 2, 1, 0, 3):
        sizes = {**base, **{a.name: base[a.name] + number * a.step for a in moving}}
        found.append(workload.settle(sizes) or base)
    return found


def small_sizes(workload: Workload) -> dict[str, int]:
    """The sizes of its scenario ``small``, else of its default one, with the smallest pools."""
    name = "small" if "small" in workload.scenarios else None
    sizes = dict(workload.scenario(name).sizes)
    for axis in workload.axes:
        if axis.name in workload.contract.independent_of:
            sizes[axis.name] = min(axis.far)
    return dict(workload.settle(sizes) or sizes)
