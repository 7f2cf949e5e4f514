"""Where the source of a subject lies, and how it gets there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError, SubjectError
from oom_suite.subjects.families.vllm.releases import obtain
from oom_suite.subjects.families.vllm.tree import installed_root, open_tree
from oom_suite.subjects.spec import SubjectKind, parse
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.subjects.spec import SubjectSpec


def source_root(spec: SubjectSpec, on_progress: OnProgress) -> str | None:
    """Where a release lies on this machine, fetched when it is not there yet; else None.

    Raises:
        FetchError: it cannot be fetched.
    """
    if spec.kind is not SubjectKind.VLLM_RELEASE:
        return None
    if spec.version is None:
        msg = f"{spec.text} names no version"
        raise SubjectError(msg)

    def fetched(done_bytes: int, total_bytes: int) -> None:
        shown = f"{format_bytes(done_bytes)} of {format_bytes(total_bytes)}"
        on_progress(spec.text, f"fetching {shown}")

    return str(obtain(spec.version, on_progress=fetched))


def source_folders(subject: str) -> tuple[Path, ...]:
    """The folders that the source paths of a subject's result may be relative to."""
    spec = parse(subject)
    try:
        if spec.kind is SubjectKind.VLLM_RELEASE:
            return (obtain(str(spec.version)),)
        if spec.kind is SubjectKind.VLLM_TREE:
            return (open_tree(str(spec.path)),)
        if spec.kind is SubjectKind.VLLM_INSTALLED:
            return (installed_root(),)
    except OomSuiteError:  # the tree is gone since it was judged
        return ()
    if spec.kind is SubjectKind.BUILTIN:
        return (Path(__file__).parents[2],)
    return (Path.cwd(), Path(spec.path or ".").expanduser().parent)
