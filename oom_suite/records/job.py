"""A job: what a child process is started for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Job:
    """One subject in one lane.

    Attributes:
        subject: the subject's spelling.
        root: where its source tree was put, for a release; None otherwise.
        builder: ``"module:function"`` that builds the workload's keyword arguments.
        lane: ``"shadow"`` or ``"measure"``.
        device: the device of the measure lane.
        arch: the GPU architecture that the code under test is told it runs on.
        headroom_bytes: what is left free for the call in the measure lane; None for all there is.
        headroom_by: how: ``"ballast"`` or ``"limit"``; a CPU has a limit only.
        snapshot_folder: where the allocator's snapshot is kept when a GPU runs out of memory;
            None to keep none.
        scratch: ``"cuda"`` where the shadow lane adds what CUDA's own kernels allocate inside,
            for a prediction of that device; empty where it leaves them out, as laws do.
        workload: the name of the workload whose code of the subject is loaded.
    """

    subject: str
    root: str | None
    builder: str
    lane: str
    device: str
    arch: str
    headroom_bytes: int | None = None
    headroom_by: str = "ballast"
    snapshot_folder: str | None = None
    scratch: str = ""
    workload: str = "decode"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to a child for another workload than its job's.

    Attributes:
        builder: ``"module:function"`` that builds the workload's keyword arguments.
        sizes: the axes' values.
    """

    builder: str
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Afresh:
    """A request to a child for calls as a process makes them that has just started.

    It is answered with a trace of each, from a fork of the child, which itself makes no call.

    Attributes:
        sizes: the axes' values.
        num_calls: calls at these sizes, one after the other.
    """

    sizes: Mapping[str, int]
    num_calls: int
