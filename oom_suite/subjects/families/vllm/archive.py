"""Takes the few files that the suite reads out of a source archive, and nothing else."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from typing import TYPE_CHECKING

from oom_suite.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def extract(archive: Path, tree: Path, wanted: Iterable[str]) -> dict[str, str]:
    """The sha256 of each file extracted into `tree`, by its path from the tree's root.

    Every member is put to the test of tarfile's ``data`` filter, so that an archive with a
    single path outside the tree, link out of it or device is refused as a whole.

    Args:
        archive: a ``.tar.gz`` whose members lie in one top folder.
        tree: folder to write to; exists and is empty.
        wanted: paths from the tree's root; those that the archive lacks are left out.

    Raises:
        FetchError: the archive is damaged or unsafe.
        OSError: `tree` cannot be written.
    """
    names = frozenset(wanted)
    digests: dict[str, str] = {}
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                safe = tarfile.data_filter(member, str(tree))
                name = safe.name.partition("/")[2]
                if name not in names:
                    continue
                content = members.extractfile(member) if member.isreg() else None
                if content is None:
                    raise FetchError(
                        f"{archive.name} is refused: {name} is not a plain file in it; "
                        "use another index"
                    )
                data = content.read()
                target = tree / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                digests[name] = hashlib.sha256(data).hexdigest()
    except tarfile.FilterError as error:
        raise FetchError(
            f"{archive.name} is refused: member {error.tarinfo.name!r} leads outside the folder "
            "it is extracted to; use another index"
        ) from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise FetchError(
            f"{archive.name} is not a readable source archive ({error}); run the command again, "
            "and if it happens again use another index"
        ) from error
    return digests
