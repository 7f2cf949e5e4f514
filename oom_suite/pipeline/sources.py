"""Where the source of a subject lies."""

from __future__ import annotations

from pathlib import Path

from oom_suite.errors import OomSuiteError
from oom_suite.subjects.families.vllm.releases import obtain
from oom_suite.subjects.families.vllm.tree import installed_root, open_tree
from oom_suite.subjects.spec import SubjectKind, parse


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
