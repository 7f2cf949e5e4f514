"""Asks the package index for the releases of a project, and downloads one."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pypi_simple
import requests
from packaging.version import InvalidVersion, Version
from pypi_simple import PyPISimple

from oom_suite.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

    from pypi_simple import DistributionPackage

    from oom_suite.subjects.families.releases import Project

INDEX_VARIABLE = "PIP_INDEX_URL"
_TIMEOUT_S = (10.0, 60.0)


@dataclass(slots=True)
class _Progress:
    """Tells the caller's function how many bytes have come, and remembers it."""

    report: Callable[[int, int], None] | None
    total_bytes: int = 0
    done_bytes: int = 0
    started: bool = False

    def __enter__(self) -> Self:
        self.started = True
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, increment: int) -> None:
        self.done_bytes += increment
        if self.report is not None:
            self.report(self.done_bytes, self.total_bytes)


def index_versions(project: Project, *, prereleases: bool = False) -> tuple[Version, ...]:
    """The versions that the index has an archive of, oldest first; withdrawn ones left out.

    Raises:
        FetchError: the index cannot be reached or read.
    """
    with _client(project) as client:
        found = {v for v, package in _archives(client, project) if not package.is_yanked}
    return tuple(sorted(v for v in found if prereleases or not v.is_prerelease))


def download(
    project: Project,
    version: Version,
    folder: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, str]:
    """The release's archive, downloaded into `folder` and verified, and its sha256.

    Args:
        project: whose.
        version: the release.
        folder: where the archive is written; exists.
        on_progress: called with the bytes done and the bytes in all (0 when not known).

    Raises:
        FetchError: no such release, no network, a download cut short, a digest that differs.
    """
    with _client(project) as client:
        package = _find(client, project, version)
        digest = package.digests.get("sha256")
        if not digest:
            raise FetchError(
                f"{_index()} gives no sha256 for {package.filename}, so it cannot be verified: "
                f"use an index that does ({INDEX_VARIABLE})"
            )
        archive = folder / package.filename
        progress = _Progress(on_progress, package.size or 0)

        def started(content_bytes: int | None) -> _Progress:
            progress.total_bytes = content_bytes or progress.total_bytes
            return progress

        try:
            client.download_package(package, archive, progress=started, timeout=_TIMEOUT_S)
        except pypi_simple.DigestMismatchError as error:
            if progress.done_bytes < progress.total_bytes:
                raise _cut_short(package, progress) from error
            raise FetchError(
                f"{package.filename} is not the file that {_index()} vouches for: its sha256 "
                "differs; run the command again, and if it happens again use another index "
                f"({INDEX_VARIABLE})"
            ) from error
        except requests.RequestException as error:
            if progress.started:
                raise _cut_short(package, progress) from error
            raise
    return archive, digest


def _cut_short(package: DistributionPackage, progress: _Progress) -> FetchError:
    return FetchError(
        f"the download of {package.filename} was cut short, at {progress.done_bytes} or a little "
        f"more of its {progress.total_bytes} bytes; run the command again"
    )


def _endpoint() -> str:
    return os.environ.get(INDEX_VARIABLE, "").strip() or pypi_simple.PYPI_SIMPLE_ENDPOINT


def _index() -> str:
    """How messages name the index; without a user name or password that its address holds."""
    try:
        host = urlsplit(_endpoint()).hostname
    except ValueError:
        host = None
    if os.environ.get(INDEX_VARIABLE, "").strip():
        return f"the package index in {INDEX_VARIABLE} ({host or 'not an address'})"
    return f"the package index ({host})"


@contextlib.contextmanager
def _client(project: Project) -> Iterator[PyPISimple]:
    """A client of the user's index, whose failures come out as one line."""
    try:
        with PyPISimple(_endpoint()) as client:
            yield client
    except pypi_simple.NoSuchProjectError as error:
        raise FetchError(
            f"{_index()} does not have {project.name}: point {INDEX_VARIABLE} to one that does"
        ) from error
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else "an error"
        raise FetchError(
            f"{_index()} answered {code} when asked for {project.name}: try again later, or point "
            f"{INDEX_VARIABLE} to another index"
        ) from error
    except requests.RequestException as error:
        raise FetchError(
            f"{_index()} cannot be reached ({type(error).__name__}): check the network and "
            f"{INDEX_VARIABLE}, or use a tree that is here already ({project.name}@PATH)"
        ) from error
    except (
        pypi_simple.UnsupportedContentTypeError,
        pypi_simple.UnsupportedRepoVersionError,
    ) as error:
        raise FetchError(
            f"{_index()} does not speak the simple repository protocol: check {INDEX_VARIABLE}"
        ) from error


def _packages(
    client: PyPISimple, project: Project
) -> Iterator[tuple[Version, DistributionPackage]]:
    for package in client.get_project_page(project.name, timeout=_TIMEOUT_S).packages:
        with contextlib.suppress(InvalidVersion):
            if package.version is not None:
                yield Version(package.version), package


def _has(project: Project, package: DistributionPackage) -> bool:
    """Whether this is a file of the kind that is taken."""
    suffix = ".whl" if project.archive == "wheel" else ".tar.gz"
    return package.package_type == project.archive and package.filename.endswith(suffix)


def _archives(
    client: PyPISimple, project: Project
) -> Iterator[tuple[Version, DistributionPackage]]:
    return ((v, package) for v, package in _packages(client, project) if _has(project, package))


def _find(client: PyPISimple, project: Project, version: Version) -> DistributionPackage:
    packages = list(_packages(client, project))
    fitting = [one for found, one in packages if found == version and _has(project, one)]
    if fitting:
        return min(fitting, key=_preference)
    releases = sorted({v for v, p in packages if _has(project, p) and not v.is_prerelease})
    if not releases:
        raise FetchError(f"{_index()} has no {project.kind} of {project.name}: use another index")
    if any(found == version for found, _ in packages):
        others = "built packages" if project.archive == "sdist" else "source archives"
        what = f"{_index()} has no {project.kind} of {project.title} {version}, only {others}"
    else:
        what = f"{_index()} has no {project.title} {version}"
    below = [v for v in releases if v < version][-1:]
    above = [v for v in releases if v > version][:1]
    near = " and ".join(str(v) for v in below + above)
    raise FetchError(f"{what}: nearest is {near}, latest is {releases[-1]}")


def _preference(package: DistributionPackage) -> tuple[bool, bool, str]:
    """The same wheel on every machine, for its Python files are all that is read of it."""
    name = package.filename
    return not name.endswith("none-any.whl"), "x86_64" not in name, name
