"""Whether a device has room for a replay, and how much it would need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.lanes.measure.free_memory import FreeMemory
    from oom_suite.records.replay import Prediction


def shortage(
    memory: FreeMemory, device: str, headroom_bytes: int, predictions: Sequence[Prediction]
) -> str:
    """What is missing for the inputs and the headroom, in one line; empty where nothing is.

    On a GPU the inputs and the headroom must be free. On a CPU the inputs are pages that nobody
    touches, and so is a request that fails: only what the calls will hold must be there.
    """
    input_bytes = max((one.input_bytes for one in predictions), default=0)
    held_bytes = max((one.held_bytes for one in predictions), default=0)
    if device != "cpu":
        needed_bytes = input_bytes + headroom_bytes
        if memory.free_bytes >= needed_bytes:
            return ""
        return (
            f"the inputs take {format_bytes(input_bytes)} and the headroom "
            f"{format_bytes(headroom_bytes)}: {format_bytes(needed_bytes)} must be free on {device}"
            f" ({memory.name}), and {format_bytes(memory.free_bytes)} are"
        )
    if memory.free_bytes < held_bytes:
        return (
            f"a call would hold {format_bytes(held_bytes)} in this headroom, and the system has "
            f"{format_bytes(memory.free_bytes)} available: give a smaller --headroom"
        )
    needed_bytes = input_bytes + headroom_bytes
    if memory.reservable_bytes is not None and memory.reservable_bytes < needed_bytes:
        return (
            f"the system promises no more memory than it has (vm.overcommit_memory is 2): "
            f"{format_bytes(needed_bytes)} must be unpromised for the inputs and the headroom, and "
            f"{format_bytes(memory.reservable_bytes)} are"
        )
    return ""
