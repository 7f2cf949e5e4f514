"""A subject as its user wrote it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SubjectSpec:
    """A subject's spelling, taken apart by the family that understands it.

    Attributes:
        text: the spelling itself, with the options behind it.
        family: the name of that family; it decides which of the others are set.
        name: the built-in's name.
        version: the release, as ``"0.21.0"``.
        path: the file, or the tree's root, as written.
        module: the module's dotted name.
        function: the function's name, for a file or a module.
        stubs: packages that are replaced by stubs while the code is loaded and called.
        package: the name of the package in a fork that has another one; None for the family's.
    """

    text: str
    family: str
    name: str | None = None
    version: str | None = None
    path: str | None = None
    module: str | None = None
    function: str | None = None
    stubs: tuple[str, ...] = ()
    package: str | None = None

    @property
    def quoted(self) -> str:
        """The spelling and its options as a shell reads them: quoted where they must be."""
        options = [word for stub in self.stubs for word in ("--stub", stub)]
        options += ["--package", self.package] if self.package else []
        spelling = self.text.removesuffix(" ".join(("", *options)))
        return shlex.join((spelling, *options))
