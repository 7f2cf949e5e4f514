"""What a commit is judged by, as the options of `probe` and `bisect` spell it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oom_suite.cli.settings import read_cases, shadow_settings, spelled
from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import DEFAULT_FILE
from oom_suite.pipeline.commits.predicate import LawPredicate, refuse_mixed
from oom_suite.pipeline.commits.pytest_test import TestPredicate
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from oom_suite.pipeline.commits.predicate import Predicate
    from oom_suite.pipeline.settings import Settings
    from oom_suite.records import SubjectSpec

OneSubject = Annotated[
    str | None, typer.Argument(metavar="SUBJECT", help="as for check; or give --test")
]
AnAxis = Annotated[
    str | None,
    typer.Option(
        "--axis",
        metavar="AXIS",
        help="look at growth in this axis alone, such as num_tokens or num_blocks: against the "
        "good end where that is known, or the lockfile (--locked)",
    ),
]
AtMost = Annotated[
    str | None,
    typer.Option(
        "--at-most",
        metavar="BYTES",
        help="look at this bound alone, for all sizes: 64MiB, or 4KiB*num_tokens*swa_topk + 64MiB",
    ),
]
Test = Annotated[
    str | None,
    typer.Option(
        "--test",
        metavar="FILE::TEST",
        help="a pytest test instead of a subject: good where it passes, bad where it fails",
    ),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say what makes a commit good or bad, as they were written.

    Attributes:
        subject: the subject; None where a test was given.
        test: the test; None where a subject was given.
        axis: of ``--axis``.
        at_most: of ``--at-most``.
        locked: whether ``--locked`` was given.
        file: of ``--file``.
        scenario: of ``--scenario``.
        sizes: of ``--set``.
        workload: of ``--workload``.
        target: of ``--target``.
        budget: of ``--budget``.
        time_limit_s: of ``--time-limit``.
        stub: of ``--stub``.
        package: of ``--package``.
    """

    subject: str | None
    test: str | None
    axis: str | None
    at_most: str | None
    locked: bool
    file: str
    scenario: str | None
    sizes: tuple[str, ...]
    workload: str | None
    target: tuple[str, ...]
    budget: str | None
    time_limit_s: float
    stub: tuple[str, ...]
    package: str | None

    @property
    def key(self) -> tuple[str, ...]:
        """All of it as words."""
        return tuple(f"{name}={getattr(self, name)}" for name in self.__slots__)

    def predicate(self) -> Predicate:
        """The predicate that is asked for.

        What depends on the code, such as which workloads a subject has, is read when it is judged.

        Raises:
            UsageError: options that cannot be used together.
        """
        refuse_mixed(self.axis or "", self.at_most or "", self.test or "", locked=self.locked)
        if (self.subject is None) == (self.test is None):
            raise UsageError("give a subject, or a test by --test FILE::TEST, one of the two")
        if self.file != DEFAULT_FILE and not self.locked:
            msg = f"--file {self.file!r} names the lockfile of --locked: add --locked"
            raise UsageError(msg)
        if self.test is not None:
            return self._of_test(self.test)
        assert self.subject is not None
        (named,) = spelled([self.subject], self.stub, self.package)
        path = parse(named).path or ""
        return LawPredicate(
            key=self.key,
            files=(path,) if path.endswith(".py") and not Path(path).is_absolute() else (),
            cases=lambda: self._cases(named),
            axis=self.axis or "",
            at_most=self.at_most or "",
            lockfile=self.file if self.locked else "",
        )

    def _cases(self, named: str) -> list[tuple[SubjectSpec, Settings]]:
        def settings_for(name: str) -> Settings:
            return shadow_settings(
                self.scenario, list(self.sizes), name, self.target, self.budget, self.time_limit_s
            )

        return read_cases([named], self.workload, settings_for, self.scenario, self.sizes)

    def _of_test(self, test: str) -> TestPredicate:
        given = {"--workload": self.workload, "--stub": self.stub, "--package": self.package}
        if meaningless := [name for name, value in given.items() if value]:
            raise UsageError(f"{meaningless[0]} means nothing for a test: leave it out")
        options = [f"--oom-target={each}" for each in self.target]
        options += [f"--oom-set={each}" for each in self.sizes]
        options += [f"--oom-budget={self.budget}"] if self.budget else []
        options += [f"--oom-scenario={self.scenario}"] if self.scenario else []
        return TestPredicate(self.key, test, tuple(options), self.time_limit_s)
