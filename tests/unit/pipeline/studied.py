"""The verdict on a builder of a test's own, found in this process."""

from __future__ import annotations

from pathlib import Path

from oom_suite.pipeline.judging import study
from oom_suite.pipeline.law_tests.promise import promise
from oom_suite.pipeline.programs import CallableProgram
from oom_suite.pipeline.session import Session

ROOT = Path(__file__).parent


def studied(build, *, measure=False, **promises):
    """The result of ``build(sizes, device)`` with these promises, by default unmeasured."""
    settings = promise(**promises, measure=measure).settings("cpu", None, 60.0)
    with Session.of(settings) as session:
        runs = session.open(CallableProgram(build, ROOT), build.__name__)
        return study(runs, build.__name__, settings).result
