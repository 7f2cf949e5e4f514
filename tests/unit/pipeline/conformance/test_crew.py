"""Workers are replaced when a case ends them, and nothing else is lost."""

from __future__ import annotations

import time
from collections import deque

import pytest
from planted import Dying, Planted

from oom_suite.pipeline.conformance.cases import Unit
from oom_suite.pipeline.conformance.crew import Crew
from oom_suite.pipeline.session import Session

UNITS = [Unit("operators", name) for name in ("first", "crash", "last")]


def crew(session, ask, parts, until=None):
    return Crew(session, "found", ask, False, 1, deque(parts), until, ())


@pytest.fixture
def session():
    with Session() as made:
        yield made


def test_a_case_that_ends_its_process_loses_nothing_else(session):
    """It has the end as its error; the cases before it and after it are there."""
    working = crew(session, Planted, [tuple(UNITS)])
    working.work()
    errors = {key: row["error"] for key, row in working.rows.items() if "error" in row}
    assert 9 == len(working.rows)
    assert {
        "operators: crash: two": "exited: the process ended by itself with exit code 9"
    } == errors


def test_a_worker_that_dies_before_any_case_is_not_asked_for_ever(session):
    working = crew(session, lambda *_: Dying(), [(unit,) for unit in UNITS])
    working.work()
    assert {} == working.rows


def test_what_time_does_not_suffice_for_is_left_out_by_name(session):
    working = crew(session, Planted, [(unit,) for unit in UNITS], until=time.monotonic() - 1)
    working.work()
    assert ({}, UNITS) == (working.rows, working.left_out)
