"""Pythons with other versions of torch or Triton, made once by pip and kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from packaging.requirements import Requirement
from packaging.version import Version

import oom_suite
from oom_suite.errors import FetchError, UsageError
from oom_suite.processes.commands import run_command
from oom_suite.subjects.families.cache import cache_folder, workplace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.pipeline.settings import OnProgress

_READY = "oom-suite-is-ready"
_PACKAGE = Path(oom_suite.__file__).parent


class Environments(Protocol):
    """Where Pythons with given versions come from."""

    def python(self, versions: Mapping[str, str], on_progress: OnProgress) -> Path:
        """A Python that has these versions, and what the suite needs.

        Args:
            versions: of distributions, by their names.
            on_progress: given what is being done.

        Raises:
            FetchError: they cannot be installed, or not together.
        """
        ...

    def path(self) -> str:
        """What `PYTHONPATH` is for such a Python: the suite that runs here, and nothing else."""
        ...


class PipEnvironments:
    """Virtual environments in the user's cache, one for each set of versions.

    pip takes them from where it is set to: `PIP_INDEX_URL` and `PIP_EXTRA_INDEX_URL` can name an
    index of torch's CPU builds. All else that the suite needs has the versions that are here.

    Args:
        folder: where they are kept; in the suite's cache by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder("environments")

    def python(self, versions: Mapping[str, str], on_progress: OnProgress) -> Path:
        """As `Environments.python`; the Python that runs where it has these versions itself."""
        if all(is_here(name, version) for name, version in versions.items()):
            return Path(sys.executable)
        named = [f"{name}=={version}" for name, version in sorted(versions.items())]
        needed = [*named, *_needed(versions)]
        text = "\n".join([sys.version, *needed])
        place = self._folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        python = place / "bin" / "python"
        if (place / _READY).exists():
            return python
        on_progress(" ".join(named), "making an environment")
        with workplace(self._folder, place.name) as work:
            if not (place / _READY).exists():
                made = work / "environment"
                self._make(made, needed, " and ".join(named), work / "log")
                made.rename(place)
        return python

    def path(self) -> str:
        """As `Environments.path`: a folder that has the package alone, and no other's torch."""
        alone = self._folder / "suite"
        link = alone / _PACKAGE.name
        alone.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() or link.readlink() != _PACKAGE:
            with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
                fresh = Path(scratch) / "link"
                fresh.symlink_to(_PACKAGE)
                fresh.replace(link)
        return str(alone)

    def _make(self, place: Path, needed: list[str], named: str, log: Path) -> None:
        try:
            venv.create(place, with_pip=True, symlinks=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise FetchError(f"no environment for {named} can be made: {error}") from error
        words = ("-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check")
        code = run_command([str(place / "bin" / "python"), *words, *needed], os.environ, log)
        if code:
            said = log.read_text(encoding="utf-8", errors="replace")
            why = [line for line in said.splitlines() if line.startswith("ERROR: ")]
            reason = why[0].removeprefix("ERROR: ") if why else f"pip ended with exit code {code}"
            raise FetchError(f"{named} cannot be installed: {reason}")
        (place / _READY).touch()


def is_here(name: str, version: str) -> bool:
    """Whether this Python has a version of a distribution, of whichever build."""
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    wanted = Version(version)
    return found == version or (not wanted.local and Version(found).public == wanted.public)


def _needed(versions: Mapping[str, str]) -> list[str]:
    """What the suite needs besides, in the versions that are here.

    Raises:
        UsageError: the suite runs from files alone, and nobody knows what it needs.
    """
    listed = metadata.requires("oom-suite") if _is_installed("oom-suite") else None
    if listed is None:
        raise UsageError(
            "an environment with other versions needs an installed suite: pip install oom-suite"
        )
    parsed = [Requirement(each) for each in listed]
    always = [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [
        f"{each.name}=={metadata.version(each.name)}"
        for each in always
        if each.name not in versions and each.name != "torch"
    ]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
