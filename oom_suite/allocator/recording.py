"""Calls made on a real allocator with its counters after each one, compared with the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.allocator.history import place_as
from oom_suite.allocator.model import CachingAllocator
from oom_suite.allocator.reclaim import AllocatorOutOfMemoryError
from oom_suite.allocator.settings import parse_settings
from oom_suite.allocator.state import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOT_COUNTERS = ("max_split_size", "num_oom_rejections", "reserved_bytes_by_private_pools")
"""What ``torch.cuda.memory_stats`` gives beside the counters that the model keeps.

A setting; refusals of a policy that is not modelled (2.13); and figures by pool (2.13).
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One call on the allocator.

    Attributes:
        kind: ``alloc``, ``free``, ``empty_cache``, ``reset_peak`` or ``reset_accumulated``;
            ``start`` for the counters before the first call.
        address: what ``alloc`` returned, -1 when it was out of memory; what ``free`` got.
        num_bytes: what ``alloc`` was asked for.
        stream: for which stream.
    """

    kind: str
    address: int = 0
    num_bytes: int = 0
    stream: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """What a real allocator did.

    Attributes:
        settings_text: the value of ``PYTORCH_ALLOC_CONF``.
        limit_bytes: the memory fraction in bytes; None without one.
        in_own_pool: whether the calls were made in a ``torch.cuda.MemPool``.
        calls: the calls, ``start`` first.
        counters: the counters after each call, by torch's names.
        growths: where each new segment or mapped range began, in order.
    """

    settings_text: str
    limit_bytes: int | None
    in_own_pool: bool
    calls: tuple[Call, ...]
    counters: tuple[Mapping[str, int], ...]
    growths: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """The recording as JSON values; of the counters only what each call changed."""
        names = sorted(self.counters[0])
        rows, before = [], dict.fromkeys(names, 0)
        for after in self.counters:
            changed = [i for i, name in enumerate(names) if after[name] != before[name]]
            rows.append([[i, after[names[i]] - before[names[i]]] for i in changed])
            before = dict(after)
        return {
            "settings_text": self.settings_text,
            "limit_bytes": self.limit_bytes,
            "in_own_pool": self.in_own_pool,
            "calls": [[c.kind, c.address, c.num_bytes, c.stream] for c in self.calls],
            "counter_names": names,
            "counter_changes": rows,
            "growths": [[g.action, g.address, g.num_bytes, g.stream] for g in self.growths],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Recording:
        """The recording that `to_json` wrote."""
        names = body["counter_names"]
        current, counters = dict.fromkeys(names, 0), []
        for row in body["counter_changes"]:
            for index, change in row:
                current[names[index]] += change
            counters.append(dict(current))
        return cls(
            settings_text=body["settings_text"],
            limit_bytes=body["limit_bytes"],
            in_own_pool=body["in_own_pool"],
            calls=tuple(Call(*call) for call in body["calls"]),
            counters=tuple(counters),
            growths=tuple(Step(*growth) for growth in body["growths"]),
        )


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first call after which the model is not where the device was.

    Attributes:
        index: of the call in the recording.
        call: the call.
        what: the counter's name, or ``address``.
        recorded: the device's figure.
        modelled: the model's; None when it has no such counter.
    """

    index: int
    call: Call
    what: str
    recorded: int
    modelled: int | None

    def __str__(self) -> str:
        """The mismatch in one line."""
        return (
            f"call {self.index} ({self.call.kind} of {self.call.num_bytes:,} B): {self.what} is "
            f"{self.recorded:,} on the device, {self.modelled} in the model"
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """How much of a recording was compared.

    Attributes:
        num_calls: calls that agree, from the first on.
        num_counters: counters compared after each of them.
        mismatch: where model and device part; None when all agree.
    """

    num_calls: int
    num_counters: int
    mismatch: Mismatch | None


def compare(recording: Recording) -> Compared:
    """Make the recorded calls on the model; addresses and counters must equal after each.

    Source: PyTorch 2.11, ``torch/cuda/memory.py``, ``memory_stats``, for the names.
    """
    num_growths = 0

    def count(step: Step) -> None:
        nonlocal num_growths
        num_growths += step.action in {"segment_alloc", "segment_map"}

    model = CachingAllocator(
        parse_settings(recording.settings_text),
        limit_bytes=recording.limit_bytes,
        in_own_pool=recording.in_own_pool,
        place=place_as(recording.growths, lambda: num_growths),
        log=count,
    )
    num_counters = 0
    for index, (call, counters) in enumerate(zip(recording.calls, recording.counters, strict=True)):
        address = _make(model, call)
        if address != call.address:
            mismatch = Mismatch(index, call, "address", call.address, address)
            return Compared(index, num_counters, mismatch)
        modelled = model.statistics.to_memory_stats()
        num_counters = 0
        for name, value in _counters(counters):
            num_counters += 1
            if modelled.get(name) != value:
                mismatch = Mismatch(index, call, name, value, modelled.get(name))
                return Compared(index, num_counters, mismatch)
    return Compared(len(recording.calls), num_counters, None)


def _counters(counters: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for name, value in counters.items():
        if not name.startswith(NOT_COUNTERS):
            yield name, value


def _make(model: CachingAllocator, call: Call) -> int:
    """Make one call; the address that a recording would have of it."""
    if call.kind == "alloc":
        try:
            return model.malloc(call.num_bytes, call.stream)
        except AllocatorOutOfMemoryError:
            return -1
    if call.kind == "free":
        model.free(call.address)
    elif call.kind == "empty_cache":
        model.empty_cache()
    elif call.kind == "reset_peak":
        model.statistics.reset_peaks()
    elif call.kind == "reset_accumulated":
        model.statistics.reset_accumulated()
    return call.address
