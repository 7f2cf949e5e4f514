"""Any command of the suite as what makes a release good or bad, by its exit code."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from oom_suite.errors import UsageError
from oom_suite.processes.commands import run_command
from oom_suite.records import Verdict
from oom_suite.records.commits import Finding, Judged

if TYPE_CHECKING:
    from oom_suite.pipeline.settings import OnProgress

COMMAND = """\
from oom_suite.processes.ending import live_by_environment
live_by_environment()
from oom_suite.__main__ import main
main()
"""
"""What a process runs that is a command of the suite, and ends with whoever started it."""

SUBJECT = "{}"
"""Stands for the release in a command."""

_VERDICTS = {0: Verdict.PASS, 1: Verdict.FAIL}
_OF_THE_LOG = ("checked ", "fetching ")


@dataclass(frozen=True, slots=True)
class CommandPredicate:
    """A command that ends with 0 for a good release and with 1 for a bad one.

    Whatever else it ends with is neither, as all commands of the suite have it.

    Attributes:
        words: the command, with the release in its place.
        text: the command as it was asked, with `SUBJECT` for the release.
        subject: the release.
    """

    words: tuple[str, ...]
    text: str
    subject: str
    reads_pages: ClassVar[bool] = False

    @classmethod
    def of(cls, text: str, subject: str) -> CommandPredicate:
        """The command for a release.

        Args:
            text: such as ``check {} --safety``.
            subject: how the release is written.

        Raises:
            UsageError: it does not say where the release stands, or cannot be read.
        """
        try:
            words = shlex.split(text.removeprefix("oom-suite "))
        except ValueError as error:
            raise UsageError(f"--by {text!r} cannot be read: {error}") from None
        if SUBJECT not in words:
            msg = f"--by {text!r} has no {SUBJECT} where the release stands: write it like "
            raise UsageError(f"{msg}--by 'check {SUBJECT} --safety'")
        return cls(tuple(subject if each == SUBJECT else each for each in words), text, subject)

    @property
    def key(self) -> tuple[str, ...]:
        """The command as it was asked."""
        return "by", self.text

    @property
    def files(self) -> tuple[str, ...]:
        """None."""
        return ()

    def judge(
        self,
        reference: Judged | None,
        on_progress: OnProgress,
        *,
        instead_of: Path | None = None,
    ) -> Judged:
        """As `oom_suite.pipeline.commits.predicate.Predicate.judge`."""
        on_progress(self.subject, f"asking {self.words[0]}")
        with tempfile.TemporaryDirectory(prefix="oom-suite-command-") as folder:
            log = Path(folder) / "log"
            code = run_command([sys.executable, "-c", COMMAND, *self.words], os.environ, log)
            said = log.read_text(encoding="utf-8", errors="replace")
        verdict = _VERDICTS.get(-1 if code is None else code)
        if verdict is None:
            return Judged(problem=f"exit code {code}: {_told(said)}")
        as_asked = f"oom-suite {self.text.removeprefix('oom-suite ')}; bad is exit code 1"
        return Judged(
            (Finding(self.subject, "", verdict, _told(said), judged_as=as_asked),),
        )

    def as_baseline(self, judged: Judged) -> Judged:
        """The same."""
        return judged


def _told(said: str) -> str:
    """The line that says most of what a command printed: what failed, else its last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_OF_THE_LOG)]
    for word in ("FAIL", "INCONCLUSIVE"):
        if failed := [line for line in lines if line.startswith(word)]:
            return failed[0].removeprefix(word).strip(" :")
    if any(line.startswith("NOT COVERED") for line in lines):
        return next(line.removeprefix("why").strip() for line in lines if line.startswith("why "))
    return lines[-1] if lines else "nothing was printed"
