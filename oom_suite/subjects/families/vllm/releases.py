"""vLLM's releases: which there are, and the sources of one, fetched once and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from oom_suite.errors import UsageError
from oom_suite.subjects.families.vllm.archive import extract
from oom_suite.subjects.families.vllm.cache import (
    cache_folder,
    entry,
    is_whole,
    replace,
    workplace,
    write_marker,
)
from oom_suite.subjects.families.vllm.tree import NEEDED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def versions(*, prereleases: bool = False) -> tuple[Version, ...]:
    """The vLLM releases whose sources the index has, oldest first.

    Args:
        prereleases: whether release candidates and the like are among them.

    Raises:
        FetchError: the index cannot be reached or read.
    """
    # The index client takes half a second to import, and a cached release needs none.
    from oom_suite.subjects.families.vllm.registry import index_versions

    return index_versions(prereleases=prereleases)


def obtain(
    version: str | Version,
    *,
    cache_dir: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The root of a release's source tree: the files in `NEEDED` that the release has.

    A tree that is in the cache and unchanged is given without asking the network anything.

    Args:
        version: the release, for example ``"0.21.0"``.
        cache_dir: the suite's cache folder; by default ``OOM_SUITE_CACHE``, else the user's.
        on_progress: called during the download with the bytes done and the bytes in all.

    Raises:
        UsageError: not a version.
        FetchError: no such release, no network, or an archive or cache that cannot be used.
    """
    try:
        wanted = Version(str(version))
    except InvalidVersion:
        raise UsageError(f"not a version: {version!r}; write it like 0.21.0") from None
    folder = cache_folder(cache_dir)
    tree = entry(folder, wanted)
    if is_whole(tree):
        return tree
    from oom_suite.subjects.families.vllm.registry import download

    with workplace(folder, tree.name) as work:
        if is_whole(tree):  # another process fetched it while this one waited
            return tree
        archive, digest = download(wanted, work, on_progress)
        made = work / "tree"
        made.mkdir()
        write_marker(made, digest, extract(archive, made, NEEDED))
        replace(tree, made, work)
    return tree
