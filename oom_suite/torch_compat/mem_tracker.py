"""torch's own tracker of memory, to have its figures beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

NAMES = (
    Name("torch.distributed._tools.mem_tracker:MemTracker", positional=0),
    Name("torch.distributed._tools.mem_tracker:MemTracker.track_external"),
    Name("torch.distributed._tools.mem_tracker:MemTracker.get_tracker_snapshot", positional=2),
)
"""The names of torch behind this module."""

with needed("oom-suite conformance --models needs", NAMES):
    from torch.distributed._tools.mem_tracker import MemTracker

_TOTAL = "Total"


def tracked_peak_bytes(call: Callable[[], object], model: Any, device: torch.device) -> int:
    """What torch's tracker says that a call takes above the model, in bytes; it is run for that.

    Args:
        call: what is run.
        model: the module in it, whose parameters were there before.
        device: whose memory is asked about, with its number.

    The tracker rounds each tensor on a GPU to 512 bytes, as the allocator does.

    Source: PyTorch 2.13 ``torch/distributed/_tools/mem_tracker.py``, ``_WeakRefInfo``.
    """
    tracker = MemTracker()
    tracker.track_external(model)
    with tracker:
        before = tracker.get_tracker_snapshot("current")
        call()
    after = tracker.get_tracker_snapshot("peak")
    return int(after.get(device, {}).get(_TOTAL, 0) - before.get(device, {}).get(_TOTAL, 0))
