"""An allocator history that torch recorded, read and compared with the model step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.allocator.model import CachingAllocator
from oom_suite.allocator.reclaim import AllocatorOutOfMemoryError
from oom_suite.allocator.state import Step
from oom_suite.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from oom_suite.allocator.settings import AllocatorSettings

_GROWTHS = frozenset({"segment_alloc", "segment_map"})
_RELEASES = frozenset({"segment_free", "segment_unmap"})
_KNOWN = _GROWTHS | _RELEASES | {"alloc", "free_requested", "free_completed", "oom"}
# The snapshot itself, and notes that the profiler leaves, are no deed of the allocator.
_NOT_STEPS = frozenset({"snapshot", "user_defined"})


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step at which history and model part.

    Attributes:
        index: of the step in the history; its length when the history ends too early.
        recorded: what happened on the device; None when nothing did.
        modelled: what the model did instead; None when nothing.
    """

    index: int
    recorded: Step | None
    modelled: Step | None

    def __str__(self) -> str:
        """The difference in one line."""
        return (
            f"step {self.index}: recorded {_line(self.recorded)}, modelled {_line(self.modelled)}"
        )


@dataclass(frozen=True, slots=True)
class Followed:
    """How far the model followed a history.

    Attributes:
        num_steps: steps that agree, from the first on.
        num_calls: calls to the allocator that were inferred from them.
        difference: where they part; None when all agree.
    """

    num_steps: int
    num_calls: int
    difference: Difference | None


def read_steps(device_trace: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps of one device of ``torch.cuda.memory._snapshot()["device_traces"]``.

    Args:
        device_trace: entries with ``action``, ``addr`` (``device_free`` for ``oom``),
            ``size`` and ``stream``, oldest first; other keys are not read.

    Raises:
        UsageError: an action is not one that torch writes.

    Source: PyTorch 2.11, ``torch/csrc/cuda/memory_snapshot.cpp``.
    """
    steps = []
    for entry in device_trace:
        action = entry["action"]
        if action in _NOT_STEPS:
            continue
        if action not in _KNOWN:
            raise UsageError(
                f"not an allocator history: action {action!r}; give one device of "
                'torch.cuda.memory._snapshot()["device_traces"]'
            )
        address = entry.get("addr", entry.get("device_free", 0))
        steps.append(Step(action, address, entry["size"], entry["stream"]))
    return tuple(steps)


def follow(
    steps: Sequence[Step],
    settings: AllocatorSettings | None = None,
    *,
    limit_bytes: int | None = None,
    free_bytes: int | None = None,
    in_own_pool: bool = False,
) -> Followed:
    """Make the calls of a history on the model; every step must be the one recorded.

    The history must begin with an empty cache, and hold one pool. The addresses of new
    segments are taken from it; everything else is predicted: whether a segment is taken or
    given back, its size, and the place of each block. What the device had free when a request
    failed is not compared.

    Args:
        steps: as `read_steps` gives them.
        settings: the configuration of the process that was recorded.
        limit_bytes: its memory fraction in bytes; None without one.
        free_bytes: what the device had free; None when it never ran out.
        in_own_pool: whether the calls were made in a ``torch.cuda.MemPool``.

    **Does not prove:** anything of blocks that several streams used (``record_stream``).
    Their frees are completed later than requested, and are reported as a difference.
    """

    def fresh() -> _Follower:
        follower = _Follower(steps)
        follower.model = CachingAllocator(
            settings,
            limit_bytes=limit_bytes,
            free_bytes=free_bytes,
            place=follower.place,
            log=follower.compare,
            in_own_pool=in_own_pool,
        )
        return follower

    follower = fresh()
    calls: list[Step | None] = []
    # Only a request that can fail gives segments back by itself.
    can_release = limit_bytes is not None or free_bytes is not None
    while follower.position < len(steps):
        start = follower.position
        releases = steps[start].action in _RELEASES
        call = _next_call(steps, start) if can_release or not releases else None
        difference = follower.make(call)
        if difference is not None and call is not None and releases:
            # The releases were perhaps not the request's own, but an empty_cache before it.
            follower = fresh()
            for made in calls:
                follower.make(made)
            call = None
            emptied = follower.make(call)
            difference = emptied and difference
        if difference is not None:
            return Followed(difference.index, len(calls), difference)
        calls.append(call)
    return Followed(len(steps), len(calls), None)


def _next_call(steps: Sequence[Step], start: int) -> Step | None:
    """The request or free that the steps from `start` on belong to; None for an empty_cache."""
    for index in range(start, len(steps)):
        step = steps[index]
        if step.action in {"alloc", "oom"}:
            return step
        if step.action in {"free_requested", "free_completed"}:
            return None if steps[start].action in _RELEASES else step
    return None


class _Follower:
    """A model that is compared with the history at each step it takes."""

    model: CachingAllocator

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self.position = 0
        self._difference: Difference | None = None
        self._num_growths = 0
        growths = [step for step in steps if step.action in _GROWTHS]
        self.place = place_as(growths, lambda: self._num_growths)

    def make(self, call: Step | None) -> Difference | None:
        """Make one call; the first difference in what it does, None when there is none."""
        before = self.position
        try:
            if call is None:
                self.model.empty_cache()
            elif call.action in {"alloc", "oom"}:
                self.model.malloc(call.num_bytes, call.stream)
            else:
                self.model.free(call.address)
        except (AllocatorOutOfMemoryError, UsageError):
            # Steps tell of the first; the second is a free of what is older than the recording.
            pass
        if self._difference is None and self.position == before:
            self._difference = Difference(before, self._steps[before], None)
        return self._difference

    def compare(self, modelled: Step) -> None:
        """One step of the model beside the one recorded."""
        self._num_growths += modelled.action in _GROWTHS
        recorded = self._steps[self.position] if self.position < len(self._steps) else None
        if recorded is None or not _same(recorded, modelled):
            if self._difference is None:
                self._difference = Difference(self.position, recorded, modelled)
            return
        self.position += 1


def place_as(growths: Sequence[Step], num_made: Callable[[], int]) -> Callable[[int], int]:
    """Addresses for new segments as a history has them.

    Args:
        growths: its ``segment_alloc`` and ``segment_map`` steps, in order.
        num_made: how many of these the model has made so far.
    """

    def place(_num_bytes: int) -> int:
        made = num_made()
        # Past the end the model grows where the device did not: any address shows it.
        return growths[made].address if made < len(growths) else 0

    return place


def _same(recorded: Step, modelled: Step) -> bool:
    if recorded.action == modelled.action == "oom":
        return (recorded.num_bytes, recorded.stream) == (modelled.num_bytes, modelled.stream)
    return recorded == modelled


def _line(step: Step | None) -> str:
    if step is None:
        return "nothing"
    return f"{step.action} of {step.num_bytes:,} B at {step.address:#x} on stream {step.stream:#x}"
