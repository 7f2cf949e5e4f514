"""The user's folder of fetched releases: where it is, what makes an entry whole, one writer."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import json
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from oom_suite.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.version import Version

CACHE_VARIABLE = "OOM_SUITE_CACHE"
KEY_VARIABLE = "OOM_SUITE_CACHE_KEY"
MARKER = ".oom-suite.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NUM_RELEASE_PARTS = 3


def cache_folder(project: str, cache_dir: Path | None = None) -> Path:
    """The folder that fetched releases of a project are kept in.

    Args:
        project: its name on the package index.
        cache_dir: the suite's cache; by default ``OOM_SUITE_CACHE``, else the user's own.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    if cache_dir is None:
        cache_dir = Path(chosen).expanduser() if chosen else _user_cache()
    return Path(cache_dir).absolute() / project


def _user_cache() -> Path:
    return platformdirs.user_cache_path("oom-suite")


def _key() -> bytes:
    """What signs the markers of the cache; kept outside of it, since others may fill a cache.

    A cache that CI restores holds code that will be run, put there by whoever could write it.
    Without the key nobody can make an entry that counts as fetched and verified here.

    Raises:
        OSError: the key can be neither read nor made.
    """
    given = os.environ.get(KEY_VARIABLE, "").strip()
    if given:
        return given.encode()
    file = platformdirs.user_state_path("oom-suite") / "cache.key"
    with contextlib.suppress(FileNotFoundError):
        if key := file.read_bytes():
            return key
    file.parent.mkdir(parents=True, exist_ok=True)
    made = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    made.touch(mode=0o600)
    made.write_bytes(secrets.token_hex(32).encode())
    try:
        # Whoever is first has made the key; a rename would take it from the others.
        os.link(made, file)
    except FileExistsError:
        pass
    finally:
        made.unlink()
    return file.read_bytes()


def _signature(marker: dict[str, Any], name: str) -> str:
    """The signature of an entry's marker; it holds for an entry of that name alone."""
    body = {key: value for key, value in marker.items() if key != "signature"}
    text = json.dumps([name, body], sort_keys=True)
    return hmac.new(_key(), text.encode(), hashlib.sha256).hexdigest()


def entry(folder: Path, version: Version) -> Path:
    """Where a release's tree is kept; 0.21 and 0.21.0 are the same release."""
    parts = list(version.release)
    parts += [0] * (_NUM_RELEASE_PARTS - len(parts))
    while len(parts) > _NUM_RELEASE_PARTS and parts[-1] == 0:
        parts.pop()
    written = str(version).replace(
        ".".join(map(str, version.release)), ".".join(map(str, parts)), 1
    )
    return folder / f"{folder.name}-{written}"


def is_whole(tree: Path, needed: Iterable[str] = ()) -> bool:
    """Whether the tree holds, unchanged, all that was taken of the release, and what is needed.

    The marker says what was taken of a verified download. It counts where it was signed with this
    user's key: what was put there by anybody else is fetched anew.

    Args:
        tree: the entry.
        needed: what must have been looked for in the release, as given to `write_marker`.
    """
    marker = _marker(tree)
    try:
        signature = _signature(marker, tree.name)
        if not hmac.compare_digest(str(marker["signature"]), signature):
            return False
        return set(needed) <= set(marker["wanted"]) and all(
            hashlib.sha256((tree / name).read_bytes()).hexdigest() == digest
            for name, digest in marker["files"].items()
        )
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def wanted_before(tree: Path) -> frozenset[str]:
    """What was looked for when the tree was made; nothing where it does not say so."""
    try:
        return frozenset(map(str, _marker(tree)["wanted"]))
    except (KeyError, TypeError):
        return frozenset()


def _marker(tree: Path) -> Any:
    try:
        return json.loads((tree / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write_marker(
    tree: Path, name: str, archive_sha256: str, files: dict[str, str], wanted: Iterable[str]
) -> None:
    """Nothing; afterwards the tree says of itself what it was made of.

    Args:
        tree: the extracted tree.
        name: the entry that it becomes.
        archive_sha256: digest of the archive that it came from.
        files: sha256 of each file, by its path from the tree's root.
        wanted: what was looked for; the release may lack some of it.

    Raises:
        FetchError: there is no key to sign it with, and none can be made.
    """
    marker: dict[str, Any] = {
        "archive_sha256": archive_sha256,
        "files": files,
        "wanted": sorted(wanted),
    }
    try:
        marker["signature"] = _signature(marker, name)
    except OSError as error:
        raise FetchError(
            f"the key that signs fetched releases cannot be kept in {error.filename} "
            f"({error.strerror}): make that writable, or give a secret in {KEY_VARIABLE}"
        ) from error
    (tree / MARKER).write_text(json.dumps(marker, indent=1, sort_keys=True), encoding="utf-8")


def replace(tree: Path, made: Path, work: Path, needed: Iterable[str]) -> None:
    """Nothing; afterwards `made` stands at `tree`, unless another process put a whole one there.

    Args:
        tree: the entry.
        made: the new tree, on the same file system.
        work: a folder on the same file system that is deleted afterwards.
        needed: as of `is_whole`.
    """
    needed = tuple(needed)
    if is_whole(tree, needed):
        return
    with contextlib.suppress(FileNotFoundError):
        tree.rename(work / "damaged")
    try:
        made.rename(tree)
    except OSError:
        if not is_whole(tree, needed):
            raise


@contextlib.contextmanager
def workplace(folder: Path, name: str) -> Iterator[Path]:
    """A temporary folder beside the entries, while no other process works on the same entry.

    Args:
        folder: the folder that releases are kept in; made when missing.
        name: the entry's name.

    Raises:
        FetchError: the folder cannot be written, or its disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{name}.lock"):
            for left_over in folder.glob(f".{name}.tmp-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=f".{name}.tmp-", dir=folder))
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        why = error.strerror or type(error).__name__
        if error.errno in _FULL:
            raise FetchError(
                f"no space left for the release in {folder} ({why}): free some, or name a folder "
                f"on another disk in {CACHE_VARIABLE}"
            ) from error
        raise FetchError(
            f"the cache folder {folder} cannot be written ({why}): make it writable, or name "
            f"another folder in {CACHE_VARIABLE}"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held by one process at a time, where the system can; the rename is safe without it too."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("wb") as lock:
        with contextlib.suppress(OSError):  # a network file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
