"""Judges subjects for tests, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oom_suite.errors import ContractError
from oom_suite.report.rows import printable
from oom_suite.report.wording import advice_lines, failure_text, headline

if TYPE_CHECKING:
    from oom_suite.pipeline.settings import Settings
    from oom_suite.pytest_plugin.options import Options
    from oom_suite.records import Result

Key = tuple[str, str, str, str]


class OomCheck:
    """Judges subjects at the scenario that the options name; what it judged once it remembers.

    Called, it is a test of its own: ``oom_check("my_kernels/decode.py:decode")``.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._judged: dict[Key, Result] = {}
        self._asked: list[Result] = []

    def __call__(self, subject: str, *, workload: str = "decode", lane: str = "shadow") -> Result:
        """The subject's result, which is as expected.

        Args:
            subject: its spelling, as on the command line.
            workload: what is run: ``decode`` or ``decode-swa``.
            lane: ``shadow``, or ``measure`` on the device of ``--oom-device``.

        Raises:
            ContractError: it is not: a broken contract, or one that could not be judged.
            pytest.UsageError: the subject, workload or lane cannot be read.
        """
        __tracebackhide__ = True
        result = self.judge(subject, workload=workload, lane=lane)
        if not result.as_expected:
            raise ContractError(contract_text(result), result)
        return result

    def judge(self, subject: str, *, workload: str = "decode", lane: str = "shadow") -> Result:
        """The same result, whatever it says; of several targets' the first that is not expected.

        Raises:
            pytest.UsageError: the subject, workload or lane cannot be read.
        """
        results = [
            self._once((subject, workload, lane, target)) for target in self._options.targets
        ]
        self._asked.extend(results)
        return next((result for result in results if not result.as_expected), results[0])

    def note(self, result: Result) -> None:
        """Nothing; afterwards this result, judged elsewhere, is among those asked for."""
        self._asked.append(result)

    def take_asked(self) -> list[Result]:
        """The results asked for since this was last called."""
        taken, self._asked = self._asked, []
        return taken

    def _once(self, key: Key) -> Result:
        if key not in self._judged:
            self._judged[key] = self._judge(*key)
        return self._judged[key]

    def locked(self, subject: str, *, workload: str = "decode") -> None:
        """Nothing; a return means that the subject's law has not outgrown its lockfile entry.

        Args:
            subject: its spelling, as on the command line.
            workload: what is run: ``decode`` or ``decode-swa``.

        Raises:
            ContractError: it grew, has no entry, or cannot be compared with it.
            pytest.UsageError: there is no ``--oom-locked``, or a name cannot be read.
        """
        __tracebackhide__ = True
        from oom_suite.pipeline.locked import check_locked, exit_code
        from oom_suite.report.lock_diff import difference_text

        file = self._options.locked
        if file is None:
            msg = "no lockfile: give --oom-locked FILE, such as oom-laws.toml"
            raise pytest.UsageError(msg)
        target, *others = self._options.targets
        if others:
            raise pytest.UsageError("--oom-locked takes one --oom-target: a law is locked for one")
        settings = self._settings(workload, "shadow", target)
        (result,), differences = check_locked([subject], settings, file, lambda *_: None)
        self._asked.append(result)
        if exit_code(differences):
            raise ContractError("\n".join(map(difference_text, differences)), result)

    def _settings(self, workload: str, lane: str, target: str) -> Settings:
        # These read release indices and start children: only who judges waits for them.
        from oom_suite.doors import workload as find_workload
        from oom_suite.errors import UsageError, unknown
        from oom_suite.pipeline.settings import Settings

        options = self._options
        try:
            if lane not in {"shadow", "measure"}:
                raise unknown("lane", lane, ("shadow", "measure"))
            return Settings(
                scenario=options.scenario.name,
                sizes=options.scenario.sizes,
                workload=find_workload(workload),
                lane=lane,
                device=options.device or "cpu",
                target=target,
                budget=options.budget,
                time_limit_s=options.time_limit_s,
                whole_limit_s=options.test_time_limit_s,
            )
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None

    def _judge(self, subject: str, workload: str, lane: str, target: str) -> Result:
        from oom_suite.errors import UsageError
        from oom_suite.pipeline.check import check
        from oom_suite.subjects import parse

        settings = self._settings(workload, lane, target)
        try:
            return check(parse(subject), settings).result
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None


def contract_text(result: Result) -> str:
    """What a failure says: everything that is known; where nothing is, why, and what to do."""
    if result.law is None:
        lines = [f"{headline(result)}: {printable(result.reason)}", *advice_lines(result)]
        return "\n".join(lines)
    return failure_text(result)
