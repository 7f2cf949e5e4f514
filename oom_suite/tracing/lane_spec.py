"""Which lane a run is made in, and how. No torch."""

from __future__ import annotations

from dataclasses import dataclass

LANES = ("shadow", "prove", "measure")

MOST, EACH, HALF, ONE, NONE = "most", "each", "half", "one", "none"
"""How much of what data may choose a run of the shadow lane takes.

All of it, where what several masks share goes to the first of them; all of it, as if they shared
nothing; every second; one; none.
"""


def to_part(number: int) -> str:
    """All of it, where what several masks share goes to the one of this number, from 0."""
    return f"part {number}"


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """Which lane, and how it runs.

    Attributes:
        name: ``"shadow"``, ``"prove"`` or ``"measure"``.
        device: where the measure lane runs.
        target: what the other lanes predict for, as `oom_suite.targets.target.target` takes it:
            ``"cpu"`` places fake tensors on the CPU, so that torch takes the CPU's kernels.
        scratch: a target (``"cuda:sm_90"``; ``"cuda"`` is that) whose kernels' own scratch the
            shadow lane adds, for a prediction of that device; empty where it leaves them out.
        headroom_bytes: what is left free for the call in the measure lane; None for all there is.
        headroom_by: how: ``"ballast"`` or ``"limit"``; a CPU has a limit only.
        is_fresh: whether every run begins in a fork of a process that has made no call.
        snapshot_folder: where the allocator's snapshot is kept when a GPU runs out of memory;
            None to keep none.
    """

    name: str
    device: str = "cpu"
    target: str = "generic"
    scratch: str = ""
    headroom_bytes: int | None = None
    headroom_by: str = "ballast"
    snapshot_folder: str | None = None
    is_fresh: bool = False
