"""A pytest test as what makes a commit good or bad."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from oom_suite.processes.commands import run_command
from oom_suite.processes.ending import live_by_environment
from oom_suite.records import Verdict
from oom_suite.records.commits import Finding, Judged, Place

if TYPE_CHECKING:
    from oom_suite.pipeline.settings import OnProgress

_PLUGIN = "oom_suite.pytest_plugin.verdict_file"
VERDICT_FILE = "OOM_SUITE_VERDICT_FILE"
"""The variable of pytest's environment that names the file that its plugin writes."""

INSTEAD_OF = "OOM_SUITE_INSTEAD_OF"
"""The variable that names a working tree from which no module may come."""

_OUTCOMES = {
    2: "pytest was interrupted",
    3: "pytest had an error of its own",
    4: "pytest was called wrongly",
    5: "pytest found no such test",
}
"""Source: pytest 8 ``_pytest/config/__init__.py`` (``ExitCode``)."""


@dataclass(frozen=True, slots=True)
class TestPredicate:
    """A test that passes at good commits and fails at bad ones.

    A test that cannot be imported or set up, is skipped, hangs or ends its process is neither.

    Attributes:
        key: the words that it was asked with.
        test: ``FILE::TEST``, as pytest takes it.
        options: further options for pytest.
        time_limit_s: seconds that one run of it may take, imports included.
    """

    __test__ = False
    reads_pages: ClassVar[bool] = True

    key: tuple[str, ...]
    test: str
    options: tuple[str, ...]
    time_limit_s: float

    @property
    def files(self) -> tuple[str, ...]:
        """The test's file."""
        return (self.test.partition("::")[0],)

    def judge(
        self,
        reference: Judged | None,
        on_progress: OnProgress,
        *,
        instead_of: Path | None = None,
    ) -> Judged:
        """As `oom_suite.pipeline.commits.predicate.Predicate.judge`."""
        on_progress(self.test, "running it")
        with tempfile.TemporaryDirectory(prefix="oom-suite-test-") as folder:
            file, log = Path(folder) / "verdicts.json", Path(folder) / "log"
            code = self._run(file, log, instead_of)
            said = log.read_text(encoding="utf-8", errors="replace")
            body = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if code is None:
            limit = f"no answer within {self.time_limit_s:g} s (raise it with --time-limit)"
            return Judged(problem=f"{self.test}: {limit}")
        if code < 0:
            return Judged(problem=f"{self.test}: {_name(-code)} ended pytest")
        problem = body.get("problem", "")
        if problem or code not in {0, 1} or not body.get("tests"):
            what = _OUTCOMES.get(code, f"pytest ended with exit code {code}")
            return Judged(problem=problem or f"{self.test}: {what}{_last_error(said)}")
        results = body["results"]
        return Judged(
            tuple(_finding(name, each, results.get(name)) for name, each in body["tests"].items())
        )

    def as_baseline(self, judged: Judged) -> Judged:
        """The same: a test passes by itself."""
        return judged

    def _run(self, file: Path, log: Path, instead_of: Path | None) -> int | None:
        """The exit code of pytest; None where it took too long."""
        words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", _PLUGIN)
        env = {**os.environ, VERDICT_FILE: str(file), "PYTHONDONTWRITEBYTECODE": "1"}
        # What is imported from the commit comes before what is installed in editable mode.
        inside = [path for path in sys.path if Path(path).is_relative_to(Path.cwd())]
        before = [*inside, *filter(None, [env.get("PYTHONPATH", "")])]
        if before:
            env["PYTHONPATH"] = os.pathsep.join(before)
        if instead_of is not None:
            env[INSTEAD_OF] = str(instead_of)
        command = [sys.executable, *words, *self.options, self.test]
        return run_command(command, env, log, self.time_limit_s)


def live_with_the_search() -> None:
    """Be killed with the search that started this process; for pytest's own."""
    live_by_environment()


def _finding(name: str, said: list[list[str]], results: list[dict[str, Any]] | None) -> Finding:
    """What a test says, the worst of its phases, with the law that it asked for."""
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    verdict, reason = min(
        ((Verdict(value), why) for value, why in said), key=lambda each: order.index(each[0])
    )
    worst = max(results or (), key=lambda each: each["verdict"] == verdict.value, default=None)
    if worst is None:
        return Finding(name, "", verdict, reason)
    law = worst["law"]
    blame = tuple(map(Place.of, worst["blame"])) if verdict is Verdict.FAIL else ()
    return Finding(
        name=name,
        workload=worst["workload"],
        verdict=verdict,
        reason=reason,
        law="" if law is None else law["text"],
        peak_requested_bytes=worst["peak_requested_bytes"],
        blame=blame,
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_error(said: str) -> str:
    """``: ERROR: not found: ...``, the line that pytest itself calls an error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR: ", "E   ", "INTERNALERROR> "))]
    shown = (errors or lines)[-1:]
    return f": {shown[0]}" if shown else ""
