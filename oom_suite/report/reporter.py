"""What can write the results of a check to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oom_suite.records import Result


class Reporter(Protocol):
    """Writes results in one format, for ``oom-suite check --report NAME=FILE``.

    Attributes:
        name: how it is asked for, unique among all that are registered.
    """

    name: str

    def write(self, results: Sequence[Result], path: Path) -> None:
        """Write the results; an existing file is replaced.

        Args:
            results: in the order in which their subjects were named.
            path: the file.

        Raises:
            UsageError: the file cannot be written.
        """
        ...
