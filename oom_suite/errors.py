"""Every error the suite raises on purpose; each one prints as a single clear line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class OomSuiteError(Exception):
    """Base of the suite's own errors. `str(error)` is one line, fit to show to a user."""


class UsageError(OomSuiteError):
    """The request cannot be carried out as written (exit code 2, `pytest.UsageError`)."""


class SubjectError(OomSuiteError):
    """A subject cannot be obtained, loaded or called."""


class NotApplicableError(SubjectError):
    """The source can be read, but holds nothing that the workload could run."""


class StubUsedError(SubjectError):
    """The code under test used a name that the suite had to stub to load it."""


class FetchError(SubjectError):
    """A release could not be fetched, verified, cached or extracted."""


class LaneError(OomSuiteError):
    """A lane could not run the call (for example: a value that exists only on a device)."""


class TimeSpentError(Exception):
    """The time for a whole test is over.

    No `OomSuiteError`: what refuses one run is noted and the next one made, and this ends them all.
    """


class ContractError(AssertionError):
    """A subject broke its contract. Carries the structured result for reports.

    Attributes:
        result: the `oom_suite.records.Result` that was judged.
    """

    def __init__(self, message: str, result: object) -> None:
        """Keep the readable message and the result it describes."""
        super().__init__(message)
        self.result = result


def line_of(error: BaseException) -> str:
    """Any error as one line: its type, and the first line of its message."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def unknown(kind: str, value: str, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is not one of the allowed ones, with the nearest named.

    Args:
        kind: what the name is, for example ``"scenario"``.
        value: the name seen.
        allowed: every name that would have been accepted.
    """
    names = sorted(allowed)
    near = get_close_matches(value, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {kind} {value!r}: choose from {', '.join(names)}{hint}")
