"""A frame: one line of the code under test."""

from __future__ import annotations

from dataclasses import dataclass

from oom_suite.records.pickling import PickledByFields


@dataclass(frozen=True, slots=True)
class Frame(PickledByFields):
    """One line of the code under test.

    Attributes:
        file: path relative to the subject's root where it lies under it.
        line: line number, from 1.
        function: name of the function the line stands in.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        """``file:line (function)``, as terminals make it clickable."""
        return f"{self.file}:{self.line} ({self.function})"
