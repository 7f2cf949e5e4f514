"""What a commit is judged by, as the options of `probe` and `bisect` spell it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from oom_suite.cli.options import (
    BudgetText,
    EveryWorkload,
    LockFile,
    Package,
    Scenario,
    Set,
    Stub,
    Targets,
    TimeLimit,
)
from oom_suite.cli.settings import one_target, read_cases, shadow_settings, spelled
from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import DEFAULT_FILE
from oom_suite.pipeline.commits.predicate import LawPredicate, refuse_mixed
from oom_suite.pipeline.commits.pytest_test import TestPredicate
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from collections.abc import Callable

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

Locked = Annotated[
    bool, typer.Option("--locked", help="look at growth since the lockfile was written")
]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say what makes a commit good or bad, as they were written.

    Each is an option of every command that `asks`; exactly one of subject and test is given.
    """

    subject: OneSubject = None
    test: Test = None
    axis: AnAxis = None
    at_most: AtMost = None
    locked: Locked = False
    file: LockFile = DEFAULT_FILE
    scenario: Scenario = None
    sizes: Set = None
    workload: EveryWorkload = None
    target: Targets = None
    budget: BudgetText = None
    time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S
    stub: Stub = None
    package: Package = None

    @property
    def key(self) -> tuple[str, ...]:
        """All of it as words, with what a lockfile says that no commit has."""
        words = tuple(f"{each.name}={getattr(self, each.name)}" for each in fields(self))
        elsewhere = Path(self.file)
        if self.locked and elsewhere.is_absolute() and elsewhere.is_file():
            return (*words, elsewhere.read_text(encoding="utf-8", errors="replace"))
        return words

    @property
    def given(self) -> tuple[str, ...]:
        """The options that are not as they are by themselves, as they are written."""
        flags = {"sizes": "--set", "subject": "SUBJECT"}
        return tuple(
            flags.get(each.name, f"--{each.name.replace('_', '-')}")
            for each in fields(self)
            if getattr(self, each.name) not in (each.default, [])
        )

    def words(self) -> tuple[str, ...]:
        """The options as a command line has them, the subject apart; the target is named."""
        single = {
            "--test": self.test,
            "--axis": self.axis,
            "--at-most": self.at_most,
            "--file": None if self.file == DEFAULT_FILE else self.file,
            "--scenario": self.scenario,
            "--workload": self.workload,
            "--budget": self.budget,
            "--package": self.package,
            "--target": one_target(self.target),
            "--time-limit": f"{self.time_limit:g}",
        }
        several = {"--set": self.sizes, "--stub": self.stub}
        found = [f"{flag}={value}" for flag, value in single.items() if value is not None]
        found += [f"{flag}={each}" for flag, values in several.items() for each in values or ()]
        return (*found, *(["--locked"] if self.locked else []))

    def checked(self) -> None:
        """Nothing, where the options can be read: what cannot be is not found at every release.

        Raises:
            UsageError: one cannot be.
        """
        if self.workload is not None:
            shadow_settings(
                *(self.scenario, self.sizes, self.workload, self.target, self.budget),
                self.time_limit,
            )

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
        (named,) = spelled([self.subject], self.stub or (), self.package)
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
                self.scenario, self.sizes, name, self.target, self.budget, self.time_limit
            )

        return read_cases([named], self.workload, settings_for, self.scenario, self.sizes or ())

    def _of_test(self, test: str) -> TestPredicate:
        given = {"--workload": self.workload, "--stub": self.stub, "--package": self.package}
        if meaningless := [name for name, value in given.items() if value]:
            raise UsageError(f"{meaningless[0]} means nothing for a test: leave it out")
        options = [f"--oom-target={each}" for each in self.target or ()]
        options += [f"--oom-set={each}" for each in self.sizes or ()]
        options += [f"--oom-budget={self.budget}"] if self.budget else []
        options += [f"--oom-scenario={self.scenario}"] if self.scenario else []
        return TestPredicate(self.key, test, tuple(options), self.time_limit)


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `Asked` before its own; it is given them as its first argument.

    typer reads a command's options from its signature: this one has both.
    """
    _, *own = inspect.signature(command).parameters.values()
    hints = get_type_hints(Asked, include_extras=True)
    hints |= get_type_hints(command, include_extras=True)
    shared = [
        Parameter(
            each.name, Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
        )
        for each in fields(Asked)
    ]
    own = [each.replace(annotation=hints[each.name]) for each in own]

    def run(**given: Any) -> None:
        asked = Asked(**{each.name: given.pop(each.name) for each in shared})
        command(asked, **given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    vars(run)["__signature__"] = inspect.Signature([*shared, *own])
    run.__annotations__ = {each.name: each.annotation for each in (*shared, *own)}
    return run
