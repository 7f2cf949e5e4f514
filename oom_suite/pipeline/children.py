"""Starts the child processes that subjects run in, and finds the source that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.processes.child import Child
from oom_suite.records import Job
from oom_suite.subjects import obtain
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.pipeline.check import Settings
    from oom_suite.records import SubjectSpec

    OnProgress = Callable[[str, str], None]

PRELOAD = ("oom_suite.pipeline.worker", "oom_suite.tracing.prove", "oom_suite.tracing.warm")
"""What the server that children are forked from imports once."""


def source_root(spec: SubjectSpec, on_progress: OnProgress) -> str | None:
    """Where the release lies on this machine, fetched when it is not there yet."""

    def fetched(done_bytes: int, total_bytes: int) -> None:
        shown = f"{format_bytes(done_bytes)} of {format_bytes(total_bytes)}"
        on_progress(spec.text, f"fetching {shown}")

    root = obtain(spec, fetched)
    return None if root is None else str(root)


def start_child(
    spec: SubjectSpec, root: str | None, settings: Settings, lane: str, scratch: str = ""
) -> Child:
    """A child that answers sizes with the subject's traces in that lane.

    Args:
        spec: the subject.
        root: where its source lies, from `source_root`.
        settings: how it is checked.
        lane: ``"shadow"``, ``"measure"`` or ``"prove"``.
        scratch: whose kernels' own scratch the shadow lane adds, see `Job`.
    """
    job = Job(
        subject=spec.text,
        root=root,
        builder=settings.workload.builder,
        lane=lane,
        device=settings.device,
        arch=settings.arch,
        scratch=scratch,
        workload=settings.workload.name,
    )
    return Child(
        "oom_suite.pipeline.worker:make_handler",
        (job,),
        time_limit_s=settings.time_limit_s,
        memory_limit_bytes=settings.memory_limit_bytes,
        preload=PRELOAD,
        needs_gpu=lane == "measure" and settings.device != "cpu",
    )
