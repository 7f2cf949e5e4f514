"""Takes the few files that the suite reads out of a source archive or wheel, and nothing else."""

from __future__ import annotations

import hashlib
import stat
import tarfile
import zipfile
import zlib
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from oom_suite.errors import FetchError
from oom_suite.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_FILE_BYTES = 16 * MIB
"""Most bytes of one file that is taken; the largest that any release needs is some 100 KiB."""

MAX_ARCHIVE_BYTES = 4 * GIB
"""Most bytes that an archive's members may have unpacked."""


def extract(archive: Path, tree: Path, wanted: Iterable[str]) -> dict[str, str]:
    """The sha256 of each file extracted into `tree`, by its path from the tree's root.

    Every member is looked at, so that an archive with a single path outside the tree, link out of
    it or device is refused as a whole.

    Args:
        archive: a ``.tar.gz`` whose members lie in one top folder, or a ``.whl``.
        tree: folder to write to; exists and is empty.
        wanted: paths from the tree's root, or patterns such as ``*.dist-info/RECORD``; those
            that the archive lacks are left out.

    Raises:
        FetchError: the archive is damaged or unsafe, holds a wanted file twice, or unpacks to more
            than `MAX_ARCHIVE_BYTES`, or a wanted file to more than `MAX_FILE_BYTES`.
        OSError: `tree` cannot be written.
    """
    patterns = tuple(wanted)
    digests: dict[str, str] = {}
    members = _of_wheel if archive.suffix == ".whl" else _of_sdist
    try:
        for name, data in members(archive, tree, patterns):
            if name in digests:
                raise _refused(archive, f"{name} is in it twice")
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            digests[name] = hashlib.sha256(data).hexdigest()
    except tarfile.FilterError as error:
        raise _leads_outside(archive, error.tarinfo.name) from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise FetchError(
            f"{archive.name} is not a readable archive ({error}); run the command again, and if "
            "it happens again use another index"
        ) from error
    return digests


def _of_sdist(archive: Path, tree: Path, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive, "r|gz") as members:
        total_bytes = 0
        for member in members:
            total_bytes += member.size
            _within_limits(archive, total_bytes)
            safe = tarfile.data_filter(member, str(tree))
            name = safe.name.partition("/")[2]
            if not _is_wanted(name, patterns):
                continue
            content = members.extractfile(member) if member.isreg() else None
            if content is None:
                raise _no_plain_file(archive, name)
            _within_limit_of_a_file(archive, name, member.size)
            yield name, content.read()


def _of_wheel(archive: Path, tree: Path, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    del tree
    with zipfile.ZipFile(archive) as members:
        _within_limits(archive, sum(member.file_size for member in members.infolist()))
        for member in members.infolist():
            path = PurePosixPath(member.filename)
            if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
                raise _leads_outside(archive, member.filename)
            if not _is_wanted(member.filename, patterns):
                continue
            if stat.S_ISLNK(member.external_attr >> 16) or member.is_dir():
                raise _no_plain_file(archive, member.filename)
            _within_limit_of_a_file(archive, member.filename, member.file_size)
            # A member that unpacks to more than it says is refused by zipfile itself.
            yield member.filename, members.read(member)


def _is_wanted(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _within_limits(archive: Path, num_bytes: int) -> None:
    if num_bytes > MAX_ARCHIVE_BYTES:
        raise _refused(archive, f"it unpacks to more than {format_bytes(MAX_ARCHIVE_BYTES)}")


def _within_limit_of_a_file(archive: Path, name: str, num_bytes: int) -> None:
    if num_bytes > MAX_FILE_BYTES:
        more = f"more than {format_bytes(MAX_FILE_BYTES)}"
        raise _refused(archive, f"{name} has {format_bytes(num_bytes)}, {more}")


def _leads_outside(archive: Path, member: str) -> FetchError:
    return _refused(archive, f"member {member!r} leads outside the folder it is extracted to")


def _no_plain_file(archive: Path, name: str) -> FetchError:
    return _refused(archive, f"{name} is not a plain file in it")


def _refused(archive: Path, why: str) -> FetchError:
    return FetchError(f"{archive.name} is refused: {why}; use another index")
