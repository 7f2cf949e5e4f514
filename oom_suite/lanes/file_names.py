"""How a source file is named in a trace: relative to the code's root, libraries left out."""

from __future__ import annotations

import contextlib
import sysconfig
from pathlib import Path

import torch

_SITE_PACKAGES = "site-packages"
_LIBRARIES = (str(Path(torch.__file__).parent) + "/", f"/{_SITE_PACKAGES}/triton/")
_SUITE = Path(__file__).parent.parent
_UNDER_TEST = (f"{_SUITE}/subjects/decode/", f"{_SUITE}/subjects/faulty/")
"""The folders of the suite that hold code under test; the rest is harness."""
_STDLIB = sysconfig.get_path("stdlib") + "/"


class FileNames:
    """Shows file names, each looked up once.

    Args:
        root: folder that file names are shown relative to where they lie under it.
    """

    def __init__(self, root: Path) -> None:
        """Read the folders that names are shown relative to."""
        self._roots = [f"{root.resolve()}/"]
        # The current folder may have been removed.
        with contextlib.suppress(FileNotFoundError):
            self._roots.append(f"{Path.cwd()}/")
        self._names: dict[str, str | None] = {}

    def shown(self, filename: str) -> str | None:
        """The name to show; None for a file that is no code under test."""
        if filename not in self._names:
            self._names[filename] = self._shown(filename)
        return self._names[filename]

    def _shown(self, filename: str) -> str | None:
        if filename.startswith("<") or any(part in filename for part in _LIBRARIES):
            return None
        if filename.startswith(f"{_SUITE}/") and not filename.startswith(_UNDER_TEST):
            return None
        if filename.startswith(_STDLIB) and _SITE_PACKAGES not in filename:
            return None
        resolved = str(Path(filename).resolve())
        for root in self._roots:
            if resolved.startswith(root):
                return resolved[len(root) :]
        head, found, tail = resolved.rpartition(f"/{_SITE_PACKAGES}/")
        return tail if found and head else resolved
