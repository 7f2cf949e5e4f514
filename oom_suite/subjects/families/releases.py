"""The releases of a project: how one is written, and its files, fetched once and kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from packaging.version import InvalidVersion, Version

from oom_suite.errors import UsageError
from oom_suite.subjects.families.archive import extract
from oom_suite.subjects.families.cache import (
    cache_folder,
    entry,
    is_whole,
    replace,
    wanted_before,
    workplace,
    write_marker,
)

if TYPE_CHECKING:
    from pathlib import Path

    from oom_suite.subjects.family import OnBytes


@dataclass(frozen=True, slots=True)
class Project:
    """Whose releases.

    Attributes:
        name: on the package index.
        title: what messages call it.
        archive: ``"sdist"`` or ``"wheel"``: what is taken of a release.
    """

    name: str
    title: str
    archive: Literal["sdist", "wheel"] = "sdist"

    @property
    def kind(self) -> str:
        """What is taken of a release, in words."""
        return "wheel" if self.archive == "wheel" else "source archive"


def read_release(text: str, name: str) -> str:
    """The version in a spelling such as ``vllm==0.21.0``.

    Raises:
        UsageError: it is not one release.
    """
    written = text.removeprefix(name).strip()
    number = written.lstrip("=<>!~ ").partition(",")[0].strip()
    try:
        version = str(Version(number))
    except InvalidVersion:
        raise UsageError(
            f"subject {text!r} names no release: {number!r} is not a version; "
            f"write one, as {name}==0.21.0"
        ) from None
    if not re.fullmatch(r"==[^=<>!~,]+", written) or " " in text:
        raise UsageError(
            f"subject {text!r} names no single release: one version after == is understood; "
            f"write {name}=={version}"
        )
    return version


def fetch(
    project: Project,
    version: str | Version,
    needed: frozenset[str],
    cache_dir: Path | None = None,
    on_bytes: OnBytes | None = None,
) -> Path:
    """The root of a release's tree, which holds those of the needed files that the release has.

    A tree that is in the cache, unchanged and with all that is needed now, is given without asking
    the network anything.

    Args:
        project: whose release.
        version: for example ``"0.21.0"``.
        needed: files from the root, or patterns of their names.
        cache_dir: the suite's cache folder; by default ``OOM_SUITE_CACHE``, else the user's.
        on_bytes: called during the download with the bytes done and the bytes in all.

    Raises:
        UsageError: not a version.
        FetchError: no such release, no network, or an archive or cache that cannot be used.
    """
    try:
        wanted = Version(str(version))
    except InvalidVersion:
        raise UsageError(f"not a version: {version!r}; write it like 0.21.0") from None
    folder = cache_folder(project.name, cache_dir)
    tree = entry(folder, wanted)
    if is_whole(tree, needed):
        return tree
    # The index client takes half a second to import, and a cached release needs none.
    from oom_suite.subjects.families.registry import download

    with workplace(folder, tree.name) as work:
        if is_whole(tree, needed):  # another process fetched it while this one waited
            return tree
        # What others looked for stays, so that two families of one project can share a tree.
        needed |= wanted_before(tree)
        archive, digest = download(project, wanted, work, on_bytes)
        made = work / "tree"
        made.mkdir()
        write_marker(made, tree.name, digest, extract(archive, made, needed), needed)
        replace(tree, made, work, needed)
    return tree
