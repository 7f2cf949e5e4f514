"""What a subject will do in a headroom, said before it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.records.replay import Prediction

if TYPE_CHECKING:
    from oom_suite.records import Trace


def predict(trace: Trace, headroom_bytes: int) -> Prediction:
    """The first request that a headroom cannot serve, and what is held until then.

    Requests count as they were made, without the allocator's rounding.

    **Does not prove:** that a request which fits so is served: rounding to segments and
    fragmentation come on top.
    """
    live_bytes = held_bytes = 0
    for event in trace.events:
        allocation = trace.allocations[event.allocation]
        if event.kind == "free":
            live_bytes -= allocation.requested_bytes
            continue
        live_bytes += allocation.requested_bytes
        if live_bytes > headroom_bytes:
            return Prediction(
                trace.input_bytes,
                trace.peak().num_bytes,
                allocation.requested_bytes,
                allocation.stack[0] if allocation.stack else None,
                held_bytes,
            )
        held_bytes = max(held_bytes, live_bytes)
    return Prediction(trace.input_bytes, trace.peak().num_bytes, held_bytes=held_bytes)
