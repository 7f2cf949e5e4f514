"""Runs tests on one mutant after another, each in a fork of a process that has torch already."""

from __future__ import annotations

import compileall
import contextlib
import ctypes
import difflib
import json
import os
import py_compile
import select
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmic_ray import plugins
from cosmic_ray.mutating import use_mutation
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult
from mutants import offer_operators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cosmic_ray.work_item import WorkItem

TIMED_OUT = "timed out"
"""The output of a mutant whose tests did not end; cosmic-ray counts it as killed."""

_TREE = ("oom_suite", "tests", "fixtures", "docs", "conftest.py", "pyproject.toml", "oom-laws.toml")
_OPTIONS = (
    "-x", "-q", "--no-header", "--tb=short", "-p", "no:xdist", "-p", "no:cacheprovider",
)  # fmt: skip
_STAGES = 3
_STAGE_S = 5.0
"""A part of a mutant's tests takes about so long; the last part is the rest."""
_OUTPUT_CHARACTERS = 2000
_PR_SET_PDEATHSIG = 1


def begin(root: Path) -> None:
    """Make this process a worker: its own copy of the tree, and the slow imports done.

    The package itself is not imported here, so that each fork reads its mutant anew.
    """
    _end_with_parent()
    offer_operators()
    copy = Path(tempfile.mkdtemp(dir=os.environ["OOM_MUTATION_COPIES"]))
    for name in _TREE:
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(root / name, copy / name)
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(copy))
    # Checked by content: a mutant differs from its original by less than a file's time shows.
    compileall.compile_dir(
        copy, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
    )
    import hypothesis
    import numpy
    import pytest
    import sympy
    import torch

    del numpy, pytest, sympy, torch
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None)
    hypothesis.settings.load_profile("mutation")


def _end_with_parent() -> None:
    """Let Linux end this process when the one that started it ends, however it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Durations:
    """A pytest plugin that adds up the seconds of each test file."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid.partition("::")[0]] += report.duration


def baseline(tests: Sequence[str]) -> dict[str, float]:
    """The seconds that each test file takes without a mutant.

    Raises:
        RuntimeError: a test fails, so that no mutant could be told from none.
    """
    durations = _Durations()
    with tempfile.NamedTemporaryFile(mode="w+", suffix=".json") as file:

        def report() -> None:
            Path(file.name).write_text(json.dumps(durations.seconds), encoding="utf-8")

        code, output = _forked(tests, None, plugin=durations, after=report)
        if code != 0:
            message = f"the tests fail without a mutant:\n{output}"
            raise RuntimeError(message)
        return dict(json.load(file))


def stages(tests: Iterable[str], seconds: Mapping[str, float]) -> list[list[str]]:
    """Test files in their order, parted so that most mutants need only the first part.

    pytest imports all test files that it is given before it runs one, so that what the second
    part takes is spent only where the first has noticed nothing.
    """
    parted: list[list[str]] = []
    for test in tests:
        if not parted or (
            len(parted) < _STAGES and sum(seconds[each] for each in parted[-1]) >= _STAGE_S
        ):
            parted.append([])
        parted[-1].append(test)
    return parted


def judge(item: WorkItem, tests: Sequence[Sequence[str]], limit_s: float) -> WorkResult:
    """What the tests say of one mutant.

    Args:
        item: the mutant.
        tests: test files, the likeliest to notice first, in parts that are run one by one.
        limit_s: seconds after which a part is taken to hang.
    """
    (mutation,) = item.mutations
    try:
        operator = plugins.get_operator(mutation.operator_name)()
        with use_mutation(mutation.module_path, operator, mutation.occurrence) as (before, after):
            if after is None:
                return WorkResult(WorkerOutcome.NO_TEST)
            diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
            for part in tests:
                code, output = _forked(part, limit_s)
                if code != 0:
                    break
        outcome = TestOutcome.SURVIVED if code == 0 else TestOutcome.KILLED
        return WorkResult(WorkerOutcome.NORMAL, output, outcome, "\n".join(diff))
    except Exception:
        return WorkResult(
            WorkerOutcome.EXCEPTION, traceback.format_exc(), TestOutcome.INCOMPETENT, ""
        )


def _forked(
    tests: Sequence[str],
    limit_s: float | None,
    plugin: object = None,
    after: Callable[[], None] = lambda: None,
) -> tuple[int, str]:
    """The exit code of pytest and the end of its output, in a fork; -1 where it did not end."""
    with tempfile.TemporaryFile(mode="w+") as output:
        child = os.fork()
        if child == 0:
            _run_and_exit(tests, output.fileno(), plugin, after)
        is_over = _ends(child, limit_s)
        with contextlib.suppress(ProcessLookupError):
            # What the tests started and left goes with them.
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not is_over:
            return -1, TIMED_OUT
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()[-_OUTPUT_CHARACTERS:]


def _ends(child: int, limit_s: float | None) -> bool:
    """Whether a process ends in time."""
    handle = os.pidfd_open(child)
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        return bool(ended.poll(None if limit_s is None else limit_s * 1000))
    finally:
        os.close(handle)


def _run_and_exit(
    tests: Sequence[str], output: int, plugin: object, after: Callable[[], None]
) -> None:
    code = 70
    try:
        _end_with_parent()
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        import pytest

        code = int(pytest.main([*_OPTIONS, *tests], [] if plugin is None else [plugin]))
        after()
        sys.stdout.flush()
    finally:
        os._exit(code)
