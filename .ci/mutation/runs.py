"""Runs tests on one mutant after another, each in a fork of a process that has torch already."""

from __future__ import annotations

import compileall
import contextlib
import ctypes
import difflib
import os
import pickle
import py_compile
import select
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from choice import Part, Seen
from cosmic_ray import plugins
from cosmic_ray.mutating import use_mutation
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult
from mutants import offer_operators
from reach import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence
    from types import CodeType, FrameType

    from cosmic_ray.work_item import WorkItem

TIMED_OUT = "timed out"
"""The output of a mutant whose tests did not end; cosmic-ray counts it as killed."""

_TREE = ("oom_suite", "tests", "fixtures", "docs", "conftest.py", "pyproject.toml", "oom-laws.toml")
_OPTIONS = (
    "-q", "--no-header", "--tb=short", "-p", "no:xdist", "-p", "no:cacheprovider",
)  # fmt: skip
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
    import sympy
    import torch

    del numpy, sympy, torch
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None)
    hypothesis.settings.load_profile("mutation")


def _end_with_parent() -> None:
    """Let Linux end this process when the one that started it ends, however it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Watch:
    """A pytest plugin that notes what each test takes, and which functions it enters."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.entered: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.failed: set[str] = set()
        self._codes: dict[int, CodeType] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._codes = {}
        threading.settrace(self._note)
        sys.settrace(self._note)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]  # None is what ends it
            for code in list(self._codes.values()):
                file = Path(code.co_filename)
                if file.is_relative_to(Path.cwd() / PACKAGE):
                    place = str(file.relative_to(Path.cwd())), code.co_firstlineno
                    self.entered[place].add(item.nodeid)

    def _note(self, frame: FrameType, _event: str, _argument: object) -> None:
        """A call begins; its lines are not asked for."""
        self._codes[id(frame.f_code)] = frame.f_code

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)


class _Only:
    """A pytest plugin that leaves out all other tests."""

    def __init__(self, tests: Container[str]) -> None:
        self._tests = tests

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._tests]


def baseline(tests: Sequence[str]) -> Seen:
    """What the tests do without a mutant; one that fails at times is left out, and named.

    Raises:
        RuntimeError: a test fails twice, so that no mutant could be told from none.
    """
    seen, failed, _ = _watched(tests)
    if failed:
        files = sorted({test.partition("::")[0] for test in failed})
        _, again, output = _watched(files, _Only(failed))
        if again:
            message = f"the tests fail without a mutant:\n{output}"
            raise RuntimeError(message)
        print("failed once without a mutant, left out:", *failed, sep="\n  ", file=sys.stderr)
    for test in failed:
        seen.seconds.pop(test, None)
        for entering in seen.entered.values():
            entering.discard(test)
    return seen


def _watched(tests: Sequence[str], *plugins: object) -> tuple[Seen, set[str], str]:
    """What the tests did, which of them failed, and the end of the output."""
    watch = _Watch()
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:

        def report() -> None:
            seen = Seen(dict(watch.seconds), dict(watch.entered))
            Path(file.name).write_bytes(pickle.dumps((seen, watch.failed)))

        code, output = _forked(tests, None, (watch, *plugins), report, ends_early=False)
        if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            message = f"the tests end without a mutant:\n{output}"
            raise RuntimeError(message)
        seen, failed = pickle.loads(Path(file.name).read_bytes())
        return seen, failed, output


def judge(item: WorkItem, tests: Sequence[Part]) -> WorkResult:
    """What the tests say of one mutant.

    Args:
        item: the mutant.
        tests: in parts that are run one by one until a test fails.
    """
    (mutation,) = item.mutations
    try:
        operator = plugins.get_operator(mutation.operator_name)()
        with use_mutation(mutation.module_path, operator, mutation.occurrence) as (before, after):
            if after is None:
                return WorkResult(WorkerOutcome.NO_TEST)
            diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
            for part in tests:
                code, output = _forked(part.files, part.limit_s, (_Only(part.tests),))
                if code == pytest.ExitCode.NO_TESTS_COLLECTED:
                    raise LookupError(output)
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
    plugins: Sequence[object] = (),
    after: Callable[[], None] = lambda: None,
    *,
    ends_early: bool = True,
) -> tuple[int, str]:
    """The exit code of pytest and the end of its output, in a fork; -1 where it did not end."""
    with tempfile.TemporaryFile(mode="w+") as output:
        child = os.fork()
        if child == 0:
            options = ["-x", *_OPTIONS] if ends_early else _OPTIONS
            _run_and_exit([*options, *tests], output.fileno(), plugins, after)
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
    arguments: Sequence[str], output: int, plugins: Sequence[object], after: Callable[[], None]
) -> None:
    code = 70
    try:
        _end_with_parent()
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = int(pytest.main([*arguments], [*plugins]))
        after()
        sys.stdout.flush()
    finally:
        os._exit(code)
